"""The division of jobs into arrays, and an array's script."""

from __future__ import annotations

import subprocess

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.containers.image_file import ImageFile
from ocicaliban.model.image import Launch
from ocicaliban.targets.slurm import arrays
from ocicaliban.targets.slurm.arrays import Array, Task
from ocicaliban.targets.slurm.options import Options


def task(key: str = "ab12", *args: str) -> Task:
    return Task(key=key, attempt=1, args=args, out=f"/s/{key}/out", folder=f"/s/{key}")


ARRAY = Array(
    key="0123456789ab",
    name="digits",
    options=Options(partition="gpu", jobs=2, retries=3),
    image=ImageFile(
        path="/s/images/1.sqfs", env=(("PATH", "/bin"), ("A", "old")), workdir="/old", entrypoint=("python",),
        command=("x",),
    ),
    launch=Launch(
        command=("python", "train.py"), env=(("A", "it's\nnew"),), mounts=("/data:/data:ro",), workdir="/app"
    ),
    marks="/s/marks",
    log="/s/100%%/log",
)  # fmt: skip


@given(st.lists(st.text("abc ", max_size=40), max_size=60), st.integers(1, 10), st.integers(100, 1000))
def test_each_job_is_in_one_array_in_its_order(args: list[str], most: int, size: int) -> None:
    tasks = [task(f"{number:04x}", *words.split()) for number, words in enumerate(args)]
    made = list(arrays.split(tasks, most, size))
    assert [one for array in made for one in array] == tasks
    assert all(0 < len(array) <= most for array in made)


def test_the_header_says_what_sbatch_reads() -> None:
    text = arrays.script(ARRAY, [task(), task("cd34")])
    head = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert head == [
        "#SBATCH --job-name=digits",
        "#SBATCH --comment=ocicaliban:0123456789ab",
        "#SBATCH --array=0-1%2",
        "#SBATCH --output=/s/100%%/log",
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        "#SBATCH --partition=gpu",
        "#SBATCH --signal=B:USR1@60",
    ]


def _run(text: str, what: str) -> str:
    text = text.replace(arrays.body(), "") + what
    return subprocess.run(["bash", "-uc", text], capture_output=True, text=True, check=True).stdout


def test_bash_reads_the_arguments_as_they_are() -> None:
    odd = ("--name", "two words", "it's", "$HOME", 'a"b', "new\nline", "", "*")
    text = arrays.script(ARRAY, [task(), task("cd34", *odd)])
    show = 'task 1; printf "%s\\0" "$KEY" "$FIRST" "$OUT" "${COMMAND[@]}" "${ARGS[@]}"'
    assert _run(text, show).split("\0")[:-1] == ["cd34", "1", "/s/cd34/out", "python", "train.py", *odd]


def test_a_launch_goes_before_the_images_own_settings() -> None:
    show = 'printf "%s\\0" "${ENVIRONMENT[@]}" "$WORKDIR" "${MOUNTS[@]}" "${#DEFAULTS[@]}"'
    read = _run(arrays.script(ARRAY, [task()]), show).split("\0")[:-1]
    assert read == ["PATH=/bin", "A=it's\nnew", "/app", "/data", "/data", "ro", "0"]


def test_each_task_has_variables_of_its_own_and_a_file_if_they_are_long() -> None:
    one = evolve(task(), env=(("OCICALIBAN_JOB", "5"), ("OCICALIBAN_PARAMETERS", '{"a": "it\'s"}')), files="/s/ab 12")
    show = 'task 1; printf "%s\\0" "${OWN[@]}" "$FILES" "$OUT_POINT" "${GIVEN[@]}" "$GIVEN_FILE"'
    made = evolve(ARRAY, given=(("K", "new\nline"),), given_file="/s/it's")
    read = _run(arrays.script(made, [task(), one]), show).split("\0")[:-1]
    assert read == [
        "OCICALIBAN_JOB=5", """OCICALIBAN_PARAMETERS={"a": "it's"}""", "/s/ab 12", "/out", "K=new\nline", "/s/it's",
    ]  # fmt: skip


def test_a_recipe_may_have_a_folder_of_its_own_at_out() -> None:
    own = evolve(ARRAY, launch=evolve(ARRAY.launch, mounts=("/results:/out/:rw",)))
    assert _run(arrays.script(own, [task()]), 'printf %s "$OUT_POINT"') == ""


def test_a_script_takes_passed_variables_from_where_it_is_submitted() -> None:
    made = evolve(ARRAY, given=(("A", "1"), ("K", "secret"), ("k.x", "hidden")), passed=frozenset({"K", "k.x"}))
    text = arrays.script(made, [task()])
    assert "secret" not in text and "hidden" not in text
    show = text.replace(arrays.body(), "") + 'printf "%s\\0" "${GIVEN[@]}"'

    def bash(**environ: str) -> subprocess.CompletedProcess[str]:
        whole = {"PATH": "/usr/bin:/bin", **environ}
        return subprocess.run(["bash", "-uc", show], env=whole, capture_output=True, text=True, check=False)

    assert bash(**{"K": "it's $X", "k.x": "y"}).stdout.split("\0")[:-1] == ["A=1", "K=it's $X", "k.x=y"]
    failed = bash()
    assert failed.returncode and "K: export it before sbatch" in failed.stderr


def test_the_body_is_valid_for_bash() -> None:
    subprocess.run(["bash", "-n"], input=arrays.script(ARRAY, [task()]), text=True, check=True)
