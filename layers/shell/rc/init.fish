# fish reads this after the user's own files, so that these settings win.
set -gx PATH (string split : -- $OCICALIBAN_PATH) $PATH
set -gx PYTHONPATH $OCICALIBAN_PYTHONPATH
test -n "$PYTHONPATH"; or set -e PYTHONPATH
set -e OCICALIBAN_PATH OCICALIBAN_PYTHONPATH

functions --copy fish_prompt __ocicaliban_prompt
function __ocicaliban_status
    return $argv[1]
end
function fish_prompt
    set -l before $status
    echo -n "(ocicaliban $OCICALIBAN_PROJECT) "
    __ocicaliban_status $before
    __ocicaliban_prompt
end
