// The dictionary's panels as Plotly charts: lines, limits, and a mark where something happened.
// Plotly is 1.2 MB, so it is fetched only by pages that draw.

const MARK_KINDS = { batch_opened: "batch", rollback_begun: "rollback", plan_paused: "pause", batch_held: "hold", plan_adjusted: "adjusted" };
const KEPT_POINTS = 3000;
const DRAW_MS = 500;

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Plotly takes <a>, <b> and %{...} in its texts for markup; here all of them are words.
function plain(words) {
  return String(words).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/%\{/g, "&#37;{");
}

function loadPlotly(url) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("Plotly could not be loaded"));
    document.head.append(script);
  });
}

export class Charts {
  constructor(box, { charts, plotly }) {
    this.box = box;
    this.url = charts;
    this.plotlyUrl = plotly;
    this.charts = [];
    this.marks = [];
    this.spanSeconds = 1800;
    this.dirty = new Set();
  }

  async start() {
    if (!this.box) return;
    for (const button of document.querySelectorAll("[data-span]")) {
      button.addEventListener("click", () => this.span(Number(button.dataset.span)));
    }
    document.addEventListener("console:theme", () => this.redrawAll());
    try {
      this.plotly = await loadPlotly(this.plotlyUrl);
    } catch {
      this.say("The charts could not be loaded. Verdicts and numbers above are not affected.");
      return;
    }
    await this.reload();
    setInterval(() => this.drawDirty(), DRAW_MS);
  }

  say(words) {
    const wait = this.box.querySelector("[data-charts-wait]") ?? this.box.appendChild(document.createElement("p"));
    wait.className = "muted small charts-wait";
    wait.dataset.chartsWait = "";
    wait.textContent = words;
  }

  async reload() {
    if (!this.plotly) return;
    let told;
    try {
      told = await (await fetch(this.url, { headers: { Accept: "application/json" }, cache: "no-store" })).json();
    } catch {
      return;
    }
    this.marks = told.marks;
    this.charts = told.charts;
    this.box.replaceChildren();
    if (!this.charts.length) this.say("This policy watches no metric.");
    for (const chart of this.charts) this.place(chart);
    this.redrawAll();
  }

  place(chart) {
    const figure = document.createElement("div");
    figure.className = "chart";
    const title = document.createElement("h3");
    const name = document.createElement("span");
    name.textContent = chart.title;
    chart.now = document.createElement("span");
    chart.now.className = "chart-now num";
    title.append(name, chart.now);
    chart.node = document.createElement("div");
    chart.node.className = "chart-box";
    chart.node.setAttribute("role", "img");
    figure.append(title, chart.node);
    this.box.append(figure);
  }

  add(kpi, points) {
    for (const chart of this.charts) {
      if (chart.kpi !== kpi) continue;
      for (const point of points) {
        if (!chart.lines.some((line) => line.name === point.line)) continue;
        chart.points.push(point);
      }
      if (chart.points.length > KEPT_POINTS) chart.points.splice(0, chart.points.length - KEPT_POINTS);
      this.dirty.add(chart);
    }
  }

  mark(event) {
    const kind = MARK_KINDS[event.kind];
    if (!kind) return;
    this.marks.push({ at: event.at, kind, label: event.sentence });
    for (const chart of this.charts) this.dirty.add(chart);
    // The limits are others from now on.
    if (kind === "adjusted") this.reload();
  }

  span(seconds) {
    this.spanSeconds = seconds;
    for (const button of document.querySelectorAll("[data-span]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.span) === seconds));
    }
    this.redrawAll();
  }

  redrawAll() {
    for (const chart of this.charts) this.draw(chart);
    this.dirty.clear();
  }

  drawDirty() {
    if (document.hidden) return;
    for (const chart of this.dirty) this.draw(chart);
    this.dirty.clear();
  }

  draw(chart) {
    const colours = ["--chart-1", "--chart-2", "--chart-3", "--chart-4"].map(token);
    const newest = chart.points.length ? new Date(chart.points.at(-1).at).getTime() : Date.now();
    const from = this.spanSeconds ? newest - this.spanSeconds * 1000 : -Infinity;
    const traces = chart.lines.map((line, index) => {
      const points = chart.points.filter((point) => point.line === line.name && new Date(point.at).getTime() >= from);
      return {
        x: points.map((point) => new Date(point.at)),
        y: points.map((point) => point.value),
        name: plain(line.label), type: "scatter", connectgaps: false,
        // One look alone makes no line.
        mode: points.filter((point) => point.value !== null).length === 1 ? "markers" : "lines",
        line: { color: colours[index % colours.length], width: line.width ?? 2, dash: line.dashed ? "dot" : "solid", shape: "linear" },
        customdata: points.map((point) => (point.said ? `, ${plain(point.said)}` : "")),
        hovertemplate: `%{y:.4~g} ${plain(chart.unit)}%{customdata}<extra>${plain(line.label)}</extra>`,
      };
    });
    this.tellNow(chart);
    this.plotly.react(chart.node, traces, this.layout(chart, from), { displayModeBar: false, responsive: true, scrollZoom: false });
  }

  tellNow(chart) {
    const last = chart.points.findLast((point) => point.line === chart.lines[0].name && point.value !== null);
    chart.now.textContent = last ? `${Number(last.value.toPrecision(3))} ${chart.unit}` : "no data yet";
    chart.node.setAttribute("aria-label", `${chart.title}: ${chart.now.textContent}; ${chart.limits.filter((limit) => !limit.until).map((limit) => limit.label).join(", ")}`);
  }

  timeRange(chart, from) {
    const times = [...chart.points, ...this.marks].map((thing) => new Date(thing.at).getTime()).filter((at) => at >= from);
    const newest = chart.points.length ? new Date(chart.points.at(-1).at).getTime() : Date.now();
    // A minute at least, so that the first seconds of a plan do not fill the whole width.
    const oldest = Math.min(newest - 60000, ...times);
    return [new Date(oldest), new Date(Math.max(newest, ...times))];
  }

  layout(chart, from) {
    const muted = token("--text-3");
    const range = this.timeRange(chart, from);
    const shown = chart.limits.filter((limit) => !limit.until || new Date(limit.until) > range[0]);
    // A limit that changed while the plan ran is a step: each value is drawn over its own time.
    const limits = shown.map((limit) => ({
      type: "line", x0: limit.from && new Date(limit.from) > range[0] ? new Date(limit.from) : range[0], x1: limit.until ? new Date(limit.until) : range[1], y0: limit.value, y1: limit.value,
      line: { color: token("--chart-limit"), width: 1.5, dash: limit.until ? "dot" : "dash" },
      label: { text: plain(limit.label), textposition: limit.until ? "start" : "end", yanchor: "bottom", font: { size: 10, color: token("--chart-limit") } },
    }));
    // A word at the edge is written inwards: outside of the plot it would be cut.
    const anchor = (at) => {
      const place = (new Date(at) - range[0]) / (range[1] - range[0]);
      if (place > 0.9) return "right";
      return place < 0.1 ? "left" : "center";
    };
    const marks = this.marks.filter((mark) => new Date(mark.at).getTime() >= from).map((mark) => ({
      type: "line", yref: "paper", y0: 0, y1: 1, x0: new Date(mark.at), x1: new Date(mark.at),
      line: { color: token(mark.kind === "rollback" ? "--back-solid" : mark.kind === "batch" ? "--live-solid" : "--halt-solid"), width: 1 },
      label: { text: mark.kind, textposition: "end", textangle: 0, xanchor: anchor(mark.at), yanchor: "bottom", font: { size: 9, color: muted } },
    }));
    const values = chart.points.map((point) => point.value).filter((value) => value !== null);
    const top = Math.max(...values, ...shown.map((limit) => limit.value), 0);
    return {
      margin: { l: 40, r: 24, t: 16, b: chart.lines.length > 1 ? 42 : 24 }, height: 184, showlegend: chart.lines.length > 1, uirevision: this.spanSeconds,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "x unified", dragmode: false,
      font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: muted },
      legend: { orientation: "h", x: 0, y: -0.16, yanchor: "top", font: { size: 10 } },
      hoverlabel: { bgcolor: token("--surface-2"), bordercolor: token("--line-strong"), font: { color: token("--text"), size: 11 } },
      xaxis: { type: "date", gridcolor: token("--line"), zeroline: false, tickformat: "%H:%M:%S", nticks: 5, fixedrange: true, range },
      yaxis: { gridcolor: token("--line"), zeroline: false, rangemode: "tozero", range: top > 0 ? [0, top * 1.15] : undefined, nticks: 4, fixedrange: true, ticksuffix: "" },
      shapes: [...limits, ...marks],
    };
  }
}
