// The table and the plots of a report. The page holds one view, or two: means over seeds, and the single jobs. A view
// (`data`) has, beside texts that are ready to be shown:
//   columns  [{name, kind: "job" | "parameter" | "metric", numeric, better: "highest" | "lowest" | null}]
//   rows     [{id, status, values, texts, full, spreads}]: a cell in each column; a value is null where there is none.
//            `full` has the texts with all digits that differ from `texts`, `spreads` the standard deviations of means
//   best     the place of the best row, or null; objective {column, better} or null
//   curves   {metric: [{row, steps, values, deviations}]}
//   failed   [{job, status, reason, lines, log}]; sources [{count, facts: [[name, text]]}]
// What comes from jobs is put into the page as text, never as markup; plotly, which reads some markup, gets it escaped.
"use strict";
const by = (id) => document.getElementById(id);
const say = (id, text) => {
  by(id).textContent = text;
  by(id).hidden = !text;
};
const show = (data, ends) => {
  const { columns, rows } = data;
  const listen = (target, name, react) => target.addEventListener(name, react, { signal: ends });
  const MOST = 1000; // lines in a plot
  const COLOURS = ["#4c8dd6", "#3fa66b", "#c75a9c", "#8f7ad1", "#b59a2a", "#39a6a8", "#7f8c9b", "#a5744f"];
  const all = rows.map((_, place) => place);
  const parameters = columns.map((_, c) => c).filter((c) => columns[c].kind === "parameter");
  const metrics = columns.map((_, c) => c).filter((c) => columns[c].kind === "metric" && columns[c].numeric);
  const main = metrics.find((c) => data.objective && columns[c].name === data.objective.column) ?? metrics[0];
  const state = { sort: null, down: false, filter: () => true, ranges: new Map(), picked: new Set() };

  by("parallel-plot").removeAllListeners?.("plotly_selected");
  delete by("parallel-plot").dataset.listens;

  const value = (place, c) => rows[place].values[c];
  const full = (place, c) => rows[place].full[c] ?? rows[place].texts[c];
  const isId = (column) => column.kind === "job" && (column.name === "id" || column.name === "jobs");
  const called = (place) => (/^\d+$/.test(rows[place].id) ? `job ${rows[place].id}` : `jobs ${rows[place].id}`);
  const there = (place, c) => value(place, c) !== null && value(place, c) !== undefined;
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // --- filter and order

  const condition = (word) => {
    const found = /^(.+?)(<=|>=|!=|==|=|<|>)(.*)$/.exec(word);
    if (!found) {
      const wanted = word.toLowerCase();
      return (place) => columns.flatMap((_, c) => [full(place, c), rows[place].texts[c]]).some((text) => text.toLowerCase().includes(wanted));
    }
    const [, name, sign, wanted] = found;
    const c = columns.findIndex((column) => column.name === name);
    if (c < 0) throw new Error(`no column “${name}”`);
    const number = wanted.trim() === "" ? NaN : Number(wanted);
    const same = (place) => {
      const own = value(place, c);
      if (typeof own === "number" && !Number.isNaN(number)) return own === number;
      return full(place, c).toLowerCase() === wanted.toLowerCase();
    };
    if (sign === "=" || sign === "==") return same;
    if (sign === "!=") return (place) => !same(place);
    if (Number.isNaN(number)) throw new Error(`${name}${sign} needs a number`);
    const holds = { "<": (a) => a < number, "<=": (a) => a <= number, ">": (a) => a > number, ">=": (a) => a >= number };
    return (place) => typeof value(place, c) === "number" && holds[sign](value(place, c));
  };

  // 0 and 1 for what can be compared, 2 for what is always last.
  const rank = (own) => (own === null || own === "" ? 2 : typeof own === "string" ? 1 : 0);
  const inOrder = (places) => {
    if (state.sort === null) return places;
    const sign = state.down ? -1 : 1;
    return [...places].sort((one, other) => {
      const [a, b] = [value(one, state.sort) ?? null, value(other, state.sort) ?? null];
      if (rank(a) !== rank(b)) return rank(a) - rank(b);
      const difference = typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
      return rank(a) === 2 ? 0 : sign * difference;
    });
  };
  const filtered = () => all.filter((place) => state.filter(place));
  const passes = (place) =>
    [...state.ranges].every(([c, [low, high]]) => {
      const at = axis(c).at(place);
      return at !== null && at >= low && at <= high;
    });
  const shown = () => filtered().filter(passes);

  // --- the table

  const head = document.querySelector("thead");
  const body = document.querySelector("tbody");
  const line = element("tr");
  columns.forEach((column, c) => {
    const numeric = column.numeric && !isId(column);
    const cell = element("th", undefined, `${column.kind}${numeric ? " number" : ""}${isId(column) ? " id" : ""}`);
    cell.scope = "col";
    cell.setAttribute("aria-sort", "none");
    const button = element("button", cut(column.name, 40));
    button.type = "button";
    button.title = column.name;
    button.addEventListener("click", () => {
      // What one wants to see first comes first: the highest accuracy, the lowest loss.
      const first = column.better === "highest";
      [state.sort, state.down] = [c, state.sort === c ? !state.down : first];
      drawTable();
    });
    cell.append(button);
    line.append(cell);
  });
  head.replaceChildren(line);
  const lines = rows.map((row, place) => {
    const made = element("tr", undefined, place === data.best ? "best" : "");
    made.dataset.row = place;
    columns.forEach((column, c) => {
      const numeric = column.numeric && !isId(column);
      const cell = element("td", undefined, numeric ? "number" : "");
      if (isId(column)) {
        cell.className = "id";
        const button = element("button", row.texts[c]);
        button.type = "button";
        button.title = "Mark this job in the plots";
        button.setAttribute("aria-pressed", "false");
        button.addEventListener("click", () => pick(place));
        cell.append(button);
      } else {
        cell.textContent = row.texts[c];
        if (column.name === "status") cell.classList.add(row.status);
        if (row.full[c] !== undefined || row.texts[c].length > 30) cell.title = full(place, c);
      }
      made.append(cell);
    });
    return made;
  });
  const pick = (place) => {
    if (!state.picked.delete(place)) state.picked.add(place);
    const picked = state.picked.has(place);
    lines[place].classList.toggle("picked", picked);
    lines[place].querySelector(".id button")?.setAttribute("aria-pressed", String(picked));
    drawPlots();
  };
  const drawTable = () => {
    const places = inOrder(shown());
    [...line.children].forEach((cell, c) => {
      cell.setAttribute("aria-sort", state.sort !== c ? "none" : state.down ? "descending" : "ascending");
    });
    body.replaceChildren(...places.map((place) => lines[place]));
    if (!places.length) {
      const cell = element("td", rows.length ? "No job is like that." : "There are no jobs.", "empty");
      cell.colSpan = columns.length;
      body.append(element("tr"));
      body.firstChild.append(cell);
    }
    by("shown").textContent = `${places.length} of ${rows.length} jobs`;
    by("clear").hidden = !state.ranges.size;
  };

  // --- axes and colours

  const asksForLog = (numbers) => {
    const low = Math.min(...numbers);
    return numbers.length > 1 && low > 0 && Math.max(...numbers) / low >= 50;
  };
  const numbersOf = (c, places = all) => places.map((place) => value(place, c)).filter((own) => typeof own === "number");
  const categories = (c) =>
    [...new Set(all.filter((place) => there(place, c)).map((place) => full(place, c)))].sort((a, b) =>
      a.localeCompare(b, undefined, { numeric: true }),
    );
  const known = new Map();
  // A column as an axis from 0 to 1: where a row is on it, and what is written beside it.
  const axis = (c) => {
    if (!known.has(c)) known.set(c, columns[c].numeric ? numericAxis(c) : namedAxis(c));
    return known.get(c);
  };
  const numericAxis = (c) => {
    const numbers = numbersOf(c);
    const log = asksForLog(numbers);
    const scaled = (own) => (log ? Math.log10(own) : own);
    const [low, high] = [scaled(Math.min(...numbers)), scaled(Math.max(...numbers))];
    const at = (own) => (high > low ? (scaled(own) - low) / (high - low) : 0.5);
    const distinct = [...new Set(numbers)].sort((a, b) => a - b);
    const round = (own) => (columns[c].name === "duration" ? `${Math.round(own)} s` : String(Number(own.toPrecision(4))));
    let ticks = distinct;
    if (distinct.length > 8) {
      const tens = log ? [...Array(Math.max(0, Math.floor(high) - Math.ceil(low) + 1)).keys()].map((n) => Math.ceil(low) + n) : [];
      const places = tens.length > 2 ? tens : [0, 1, 2, 3, 4].map((n) => low + ((high - low) * n) / 4);
      ticks = places.map((own) => (log ? 10 ** own : own));
    }
    let last = -1;
    const apart = ticks.filter((own) => at(own) - last >= 0.05 && ((last = at(own)), true));
    return {
      at: (place) => (typeof value(place, c) === "number" ? at(value(place, c)) : null),
      ticks: apart.map((own) => [at(own), round(own)]),
    };
  };
  const namedAxis = (c) => {
    const names = categories(c);
    const places = new Map(names.map((name, n) => [name, names.length > 1 ? n / (names.length - 1) : 0.5]));
    const every = Math.ceil(names.length / 15);
    return {
      at: (place) => (there(place, c) ? places.get(full(place, c)) : null),
      ticks: names.filter((_, n) => n % every === 0).map((name) => [places.get(name), cut(name, 16)]),
    };
  };

  const theme = () => {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(`--${name}`).trim();
  };
  const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  // How good each row is at a metric, from 0 to 1, by its rank: one that went astray does not hide the others' differences.
  const strengths = (c) => {
    const sorted = all.filter((place) => typeof value(place, c) === "number").sort((a, b) => value(a, c) - value(b, c));
    if (columns[c]?.better === "lowest") sorted.reverse();
    return new Map(sorted.map((place, n) => [place, sorted.length > 1 ? n / (sorted.length - 1) : 1]));
  };
  const painter = (c) => {
    const colour = theme();
    const known = strengths(c);
    const [weak, strong] = [channels(colour("weak")), channels(colour("strong"))];
    return (place) => {
      if (place === data.best || state.picked.has(place)) return colour("accent");
      if (!known.has(place)) return colour("muted");
      return `rgb(${weak.map((from, n) => Math.round(from + (strong[n] - from) * known.get(place))).join(",")})`;
    };
  };
  const strong = (place) => place === data.best || state.picked.has(place);
  // The last drawn are on top: the best one, and those that are marked.
  const layered = (places, c) => {
    const known = strengths(c);
    return [...places]
      .sort((a, b) => strong(a) - strong(b) || (known.get(a) ?? -1) - (known.get(b) ?? -1))
      .slice(-MOST);
  };
  const about = (place, ...more) => {
  const told = [`${called(place)}, ${rows[place].status}`];
    parameters.slice(0, 12).forEach((c) => there(place, c) && told.push(`${columns[c].name} = ${rows[place].texts[c]}`));
    more.forEach((text) => told.push(text));
    return told.map((text) => escaped(cut(text, 60))).join("<br>");
  };
  const cell = (place, c) => `${columns[c].name} = ${rows[place].texts[c]}`;

  const layout = (more) => {
    const colour = theme();
    const lines = { gridcolor: colour("grid"), zerolinecolor: colour("grid"), linecolor: colour("line"), automargin: true, exponentformat: "e" };
    const { xaxis, yaxis, ...rest } = more;
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("text") },
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: colour("text") },
      hovermode: "closest",
      showlegend: false,
      margin: { l: 50, r: 20, t: 20, b: 45 },
      xaxis: { ...lines, ...xaxis },
      yaxis: { ...lines, ...yaxis },
      ...rest,
    };
  };
  const config = {
    displaylogo: false,
    responsive: true,
    // plotly.js 4 offers by itself to upload a plot to its makers.
    showSendToCloud: false,
    plotlyServerURL: "",
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
  };
  const touch = matchMedia("(pointer: coarse)").matches;
  const options = (id, choices, chosen) => {
    by(id).replaceChildren(
      ...choices.map(([own, text]) => {
        const made = element("option", cut(text, 40));
        [made.value, made.selected] = [own, own === chosen];
        return made;
      }),
    );
  };
  const named = (places) => places.map((c) => [c, columns[c].name]);

  // --- the plots

  const drawParallel = () => {
    const metric = Number(by("parallel-metric").value);
    const axes = [...parameters.slice(0, 12), metric];
    const colour = theme();
    const paint = painter(metric);
    const places = filtered();
    const kept = new Set(places.filter(passes));
    const order = layered(places, metric).sort((a, b) => kept.has(a) - kept.has(b));
    const traces = order.map((place) => ({
      x: axes.map((_, n) => n),
      y: axes.map((c) => axis(c).at(place)),
      mode: "lines+markers",
      type: "scatter",
      line: { color: kept.has(place) ? paint(place) : colour("muted"), width: kept.has(place) && strong(place) ? 3 : 1.3 },
      marker: { size: 4 },
      opacity: kept.has(place) ? 0.9 : 0.35,
      text: about(place, cell(place, metric)),
      hoverinfo: kept.has(place) ? "text" : "skip",
    }));
    const shapes = axes.map((_, n) => ({
      type: "line", x0: n, x1: n, y0: 0, y1: 1, layer: "below", line: { color: colour("soft"), width: 1 },
    }));
    axes.forEach((c, n) => {
      if (!state.ranges.has(c)) return;
      const [y0, y1] = state.ranges.get(c);
      shapes.push({ type: "rect", x0: n - 0.03, x1: n + 0.03, y0, y1, line: { color: colour("accent"), width: 1.5 } });
    });
    const annotations = axes.flatMap((c, n) =>
      axis(c).ticks.map(([y, text]) => ({
        x: n, y, text: escaped(text), showarrow: false, xanchor: n === axes.length - 1 ? "left" : "right",
        xshift: n === axes.length - 1 ? 6 : -6, font: { size: 11, color: colour("soft") }, bgcolor: colour("card"),
        opacity: 0.85,
      })),
    );
    by("parallel-plot").style.minWidth = `${axes.length * 105}px`;
    const made = layout({
      dragmode: touch ? false : "select",
      selections: [],
      newselection: { line: { color: colour("accent"), width: 1 } },
      shapes, annotations,
      margin: { l: 70, r: 70, t: 40, b: 12 },
      xaxis: {
        range: [-0.12, axes.length - 0.88], side: "top", showgrid: false, zeroline: false, fixedrange: true,
        tickvals: axes.map((_, n) => n), ticktext: axes.map((c) => `<b>${escaped(cut(columns[c].name, 18))}</b>`),
      },
      yaxis: { range: [-0.06, 1.06], visible: false, fixedrange: true },
    });
    const plot = by("parallel-plot");
    Plotly.react(plot, traces, made, { ...config, displayModeBar: false });
    if (plot.dataset.listens) return;
    plot.dataset.listens = "yes";
    plot.on("plotly_selected", (event) => {
      if (!event?.range?.x) return;
      const now = [...parameters.slice(0, 12), Number(by("parallel-metric").value)];
      const [left, right] = [...event.range.x].sort((a, b) => a - b);
      const [low, high] = [...event.range.y].sort((a, b) => a - b);
      now.forEach((c, n) => n >= left && n <= right && state.ranges.set(c, [Math.max(low, -0.05), Math.min(high, 1.05)]));
      draw();
    });
  };

  const scale = (c, log) => {
    const title = { text: escaped(cut(columns[c].name, 50)) };
    if (columns[c].numeric) {
      const values = [...new Set(numbersOf(c))];
      // Few values of a parameter: these are the ticks, not round numbers between them.
      const few = columns[c].kind === "parameter" && values.length <= 6 && log;
      return { type: log ? "log" : "linear", title, ...(few ? { tickvals: values, ticktext: values.map(String) } : {}) };
    }
    const names = categories(c);
    const range = [-0.5, names.length - 0.5];
    return { type: "linear", title, range, tickvals: names.map((_, n) => n), ticktext: names.map((name) => escaped(cut(name, 20))) };
  };
  // Points that coincide are put side by side, so that each can be seen. Points within a hundredth of the plot coincide.
  const apart = (points, logs) => {
    const scaled = points.map((point) => point.map((own, way) => (logs[way] ? Math.log10(own) : own)));
    const sizes = [0, 1].map((way) => {
      let [low, high] = [Infinity, -Infinity];
      for (const point of scaled) [low, high] = [Math.min(low, point[way]), Math.max(high, point[way])];
      return high > low ? high - low : 1;
    });
    const spots = new Map();
    scaled.forEach((point, n) => {
      const key = point.map((own, way) => Math.round((own / sizes[way]) * 100)).join();
      spots.set(key, [...(spots.get(key) ?? []), n]);
    });
    for (const together of spots.values()) {
      const step = Math.min(0.012, 0.08 / together.length) * sizes[0];
      if (together.length > 1) together.forEach((n, k) => (scaled[n][0] += (k - (together.length - 1) / 2) * step));
    }
    return scaled.map(([x, y]) => [logs[0] ? 10 ** x : x, logs[1] ? 10 ** y : y]);
  };
  const drawScatter = () => {
    const [x, y] = [Number(by("scatter-x").value), Number(by("scatter-y").value)];
    const paint = painter(y);
    const places = layered(shown(), y).filter((place) => there(place, x) && there(place, y));
    const names = columns[x].numeric ? null : categories(x);
    const at = (place) => [names ? names.indexOf(full(place, x)) : value(place, x), value(place, y)];
    const logs = [by("scatter-log-x").checked, by("scatter-log-y").checked];
    const spots = apart(places.map(at), logs);
    const errors = places.map((place) => rows[place].spreads?.[y] ?? 0);
    const trace = {
      x: spots.map((spot) => spot[0]),
      y: spots.map((spot) => spot[1]),
      mode: "markers",
      type: "scatter",
      marker: {
        size: places.map((place) => (strong(place) ? 12 : 8)), color: places.map(paint), opacity: 0.9,
        symbol: places.map((place) => (place === data.best ? "star" : "circle")), line: { width: 0.5, color: theme()("soft") },
      },
      ...(errors.some(Boolean) ? { error_y: { type: "data", array: errors, color: theme()("soft"), thickness: 1, width: 3 } } : {}),
      text: places.map((place) => about(place, cell(place, y), ...(parameters.includes(x) ? [] : [cell(place, x)]))),
      hoverinfo: "text",
    };
    const axes = { xaxis: scale(x, by("scatter-log-x").checked), yaxis: scale(y, by("scatter-log-y").checked) };
    Plotly.react("scatter-plot", [trace], layout({ ...axes, dragmode: touch ? false : "zoom" }), config);
  };

  const faint = (colour) => (colour[0] === "#" ? `${colour}33` : colour.replace("rgb(", "rgba(").replace(")", ",0.2)"));
  const drawCurves = () => {
    const name = by("curves-metric").value;
    const c = columns.findIndex((column) => column.name === name);
    const of = new Map(data.curves[name].map((curve) => [curve.row, curve]));
    const places = layered(shown().filter((place) => of.has(place)), c);
    const paint = painter(c);
    const few = of.size <= COLOURS.length;
    const own = new Map([...of.keys()].map((place, n) => [place, COLOURS[n]]));
    const log = by("curves-log").checked;
    const coloured = (place) => (few && !strong(place) ? own.get(place) : paint(place));
    const traces = places.flatMap((place) => {
      const { steps, values, deviations } = of.get(place);
      const trace = {
        x: steps,
        y: values,
        name: called(place),
        mode: steps.length < 12 ? "lines+markers" : "lines",
        type: "scatter",
        line: { color: coloured(place), width: strong(place) ? 3 : 1.4 },
        marker: { size: 4 },
        text: steps.map((step, n) =>
          about(place, `step ${step}: ${values[n]}${deviations ? ` ± ${deviations[n]}` : ""}`),
        ),
        hoverinfo: "text",
      };
      if (!deviations || !few) return [trace];
      const edge = { x: steps, mode: "lines", type: "scatter", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
      const low = values.map((own, n) => (own === null ? null : log && own <= deviations[n] ? own : own - deviations[n]));
      const high = values.map((own, n) => (own === null ? null : own + deviations[n]));
      return [{ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor: faint(coloured(place)) }, trace];
    });
    const yaxis = { type: log ? "log" : "linear", title: { text: escaped(cut(name, 50)) } };
    const legend = few && places.length > 1 ? { showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom" } } : {};
    Plotly.react(
      "curves-plot", traces,
      layout({ xaxis: { title: { text: "step" } }, yaxis, dragmode: touch ? false : "zoom", ...legend }), config,
    );
  };

  const drawPlots = () => {
    for (const [id, drawn] of [["parallel", drawParallel], ["scatter", drawScatter], ["curves", drawCurves]]) {
      if (!by(id).hidden) drawn();
    }
  };
  const draw = () => {
    drawTable();
    drawPlots();
  };

  // --- begin

  by("counts").replaceChildren();
  for (const [status, number] of Object.entries(data.counts)) {
    const item = element("li");
    item.append(element("b", String(number)), " ", element("span", status, status));
    by("counts").append(item);
  }
  say("best", data.summary && `${data.summary[0].toUpperCase()}${data.summary.slice(1)}`);
  say("shared", data.shared && `All jobs with ${data.shared}`);
  say("unfinished", data.unfinished);
  say("over", data.over && `Each row is the mean of the jobs that differ in ${data.over}, ± standard deviation.`);
  by("notes").hidden = !data.notes.length;
  if (data.notes.length) {
    by("notes").querySelector("summary").textContent = data.notes.length === 1 ? "1 note" : `${data.notes.length} notes`;
    by("notes").querySelector("ul").replaceChildren(...data.notes.map((note) => element("li", note)));
  }
  const failed = data.failed.map((one) => {
    const made = element("details");
    const heading = element("summary", `job ${one.job} `);
    heading.append(element("span", one.status, one.status), one.reason ? `: ${one.reason}` : "");
    made.append(heading);
    if (one.lines.length) made.append(element("pre", one.lines.join("\n")));
    if (one.log) made.append(element("p", `Log: ${one.log}`, "hint"));
    return made;
  });
  by("failed").hidden = !failed.length;
  by("failed").querySelector("div").replaceChildren(...failed);
  const sources = data.sources.map((one) => {
    const made = element("dl");
    if (data.sources.length > 1) made.append(element("dt", "jobs"), element("dd", String(one.count)));
    for (const [name, text] of one.facts) made.append(element("dt", name), element("dd", text));
    return made;
  });
  by("sources").hidden = !sources.length;
  by("sources").querySelector("div").replaceChildren(...sources);
  const example = main === undefined ? "status" : columns[main].name;
  by("filter").placeholder = main === undefined ? "status=succeeded, or any text" : `${example}>0.9  status!=failed  text`;
  listen(by("filter"), "input", () => {
    try {
      const conditions = by("filter").value.split(/\s+/).filter(Boolean).map(condition);
      state.filter = (place) => conditions.every((holds) => holds(place));
      by("filter").setAttribute("aria-invalid", "false");
      draw();
    } catch (fault) {
      by("filter").setAttribute("aria-invalid", "true");
      by("shown").textContent = fault.message;
    }
  });
  listen(by("clear"), "click", () => {
    state.ranges.clear();
    draw();
  });

  const curved = Object.keys(data.curves);
  for (const id of ["parallel", "scatter", "curves"]) by(id).hidden = true;
  const plain = (id, c) => {
    by(id).checked = columns[c].numeric && asksForLog(numbersOf(c));
    by(id).disabled = !columns[c].numeric || numbersOf(c).some((own) => own <= 0);
  };
  if (metrics.length) {
    by("parallel").hidden = !parameters.length || rows.length < 2;
    options("parallel-metric", named(metrics), main);
    listen(by("parallel-metric"), "change", drawParallel);
    const against = [...parameters, ...columns.map((_, c) => c).filter((c) => columns[c].name === "duration" || metrics.includes(c))];
    by("scatter").hidden = against.length < 2 || rows.length < 2;
    const first = parameters.find((c) => columns[c].numeric) ?? against.find((c) => c !== main) ?? main;
    options("scatter-x", named(against), first);
    options("scatter-y", named(metrics), main);
    plain("scatter-log-x", first);
    plain("scatter-log-y", main);
    for (const way of ["x", "y"]) {
      listen(by(`scatter-${way}`), "change", (event) => {
        plain(`scatter-log-${way}`, Number(event.target.value));
        drawScatter();
      });
      listen(by(`scatter-log-${way}`), "change", drawScatter);
    }
  }
  if (curved.length) {
    const logs = () => {
      const numbers = data.curves[by("curves-metric").value].flatMap((curve) => curve.values).filter((own) => own !== null);
      let [low, high] = [Infinity, -Infinity];
      for (const own of numbers) [low, high] = [Math.min(low, own), Math.max(high, own)];
      by("curves-log").checked = low > 0 && high / low >= 50;
      by("curves-log").disabled = low <= 0;
    };
    by("curves").hidden = false;
    options("curves-metric", curved.map((name) => [name, name]), curved.includes(data.objective?.column) ? data.objective.column : curved[0]);
    logs();
    listen(by("curves-metric"), "change", () => {
      logs();
      drawCurves();
    });
    listen(by("curves-log"), "change", drawCurves);
  }
  draw();
  listen(matchMedia("(prefers-color-scheme: dark)"), "change", drawPlots);
};

// --- which view

let { views } = JSON.parse(by("data").textContent);
let ends = new AbortController();
const chosen = ["parallel-metric", "scatter-y", "scatter-x", "curves-metric"];
// What the user has chosen: it stays as it is when newer data comes.
const taken = () => ({
  filter: by("filter").value,
  selects: chosen.map((id) => by(id).selectedOptions[0]?.textContent),
  logs: ["scatter-log-x", "scatter-log-y", "curves-log"].map((id) => by(id).checked),
  sorted: [...document.querySelectorAll("thead th")]
    .filter((cell) => cell.getAttribute("aria-sort") !== "none")
    .map((cell) => [cell.querySelector("button").title, cell.getAttribute("aria-sort")])[0],
});
const choose = (number, kept) => {
  ends.abort();
  ends = new AbortController();
  by("filter").value = "";
  show(views[number], ends.signal);
  if (!kept) return;
  chosen.forEach((id, n) => {
    const option = [...by(id).options].find((each) => each.textContent === kept.selects[n]);
    if (!option || option.selected) return;
    option.selected = true;
    by(id).dispatchEvent(new Event("change"));
  });
  ["scatter-log-x", "scatter-log-y", "curves-log"].forEach((id, n) => {
    if (by(id).disabled || by(id).checked === kept.logs[n]) return;
    by(id).checked = kept.logs[n];
    by(id).dispatchEvent(new Event("change"));
  });
  const head = kept.sorted && [...document.querySelectorAll("thead th")].find((cell) => cell.querySelector("button").title === kept.sorted[0]);
  for (let n = 0; head && n < 2 && head.getAttribute("aria-sort") !== kept.sorted[1]; n += 1) head.querySelector("button").click();
  if (kept.filter) {
    by("filter").value = kept.filter;
    by("filter").dispatchEvent(new Event("input"));
  }
};
const shownView = () => (by("each").checked && views.length > 1 ? 1 : 0);
by("each").closest("label").hidden = views.length < 2;
by("each").addEventListener("change", () => choose(shownView()));
choose(0);

// --- a page that is served asks for newer data while the sweep runs

const refresh = async (before) => {
  let text = before;
  try {
    const answer = await fetch(`data${location.search}`, { cache: "no-store" });
    text = answer.ok ? await answer.text() : before;
    say("gone", answer.ok ? "" : "The report cannot be read any more.");
  } catch {
    say("gone", "`ocicaliban report --serve` has ended: this page is not updated any more.");
  }
  if (before !== null && text !== before) {
    views = JSON.parse(text).views;
    by("each").closest("label").hidden = views.length < 2;
    choose(shownView(), taken());
  }
  setTimeout(() => refresh(text), 3000);
};
if (document.body.dataset.live) refresh(by("data").textContent);
