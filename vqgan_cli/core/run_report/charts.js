// Charts of a run's log, drawn by uPlot: smoothing, logarithmic axes, a line for the pointer that all of them share.
"use strict";

const Charts = (() => {
  const HEIGHT = 210;
  const RUN_COLOURS = 10;

  /** Colours of the page in its present scheme; a canvas knows no style sheet. */
  function theme() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const curves = Array.from({ length: RUN_COLOURS }, (_, number) => colour(`c${number}`));
    return { ink: colour("ink"), muted: colour("muted"), line: colour("line"), bad: colour("bad"), curves };
  }

  /** A number with four significant digits. */
  function shown(value) {
    if (value == null || !Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e7)) {
      return value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
    }
    if (Number.isInteger(value)) return value.toLocaleString("en");
    return size >= 1e4 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
  }

  /** An exponential moving average that begins at the first value, not at 0; gaps stay gaps. */
  function smoothed(values, weight) {
    let sum = 0;
    let share = 0;
    return values.map((value) => {
      if (value == null) return null;
      sum = weight * sum + (1 - weight) * value;
      share = weight * share + (1 - weight);
      return sum / share;
    });
  }

  /** A colour with less than its whole strength. */
  function faint(colour, alpha) {
    return colour + Math.round(alpha * 255).toString(16).padStart(2, "0");
  }

  class Chart {
    /**
     * @param spec {key, log, text, curves: [{run, label, validation, x, y, low, high, odd_at}]}
     * @param page {last, several, across, smoothing(), hidden(run)}
     */
    constructor(spec, page) {
      this.spec = spec;
      this.page = page;
      this.log = spec.log;
      this.off = new Set();
      this.host = document.getElementById(`chart-${spec.key}`);
      this.place = this.host.querySelector(".plot");
      this.at = this.host.querySelector(".at");
      this.place.tabIndex = 0;
      this.place.setAttribute("role", "img");
      this.place.setAttribute("aria-label", spec.text);
      this.place.addEventListener("keydown", (event) => this.onKey(event));
      this.place.addEventListener("blur", () => this.moveTo(null));
      this.values = this.buildLegend();
      this.plot = null;
    }

    buildLegend() {
      const legend = this.host.querySelector(".legend");
      return this.spec.curves.map((curve, number) => {
        const item = document.createElement("button");
        item.type = "button";
        item.setAttribute("aria-pressed", "true");
        const swatch = document.createElement("span");
        swatch.className = `swatch c${this.colourOf(number)}${curve.validation ? " validation" : this.isSecond(number) ? " second" : ""}`;
        const value = document.createElement("b");
        item.append(swatch, `${curve.label} `, value);
        item.addEventListener("click", () => {
          const hide = !this.off.has(number);
          hide ? this.off.add(number) : this.off.delete(number);
          item.setAttribute("aria-pressed", String(!hide));
          this.applyVisibility();
        });
        legend.append(item);
        return value;
      });
    }

    colourOf(number) {
      return (this.page.several ? this.spec.curves[number].run : number) % RUN_COLOURS;
    }

    /** Whether a run, whose curves have one colour on a page of several, has an earlier curve of training in this chart. */
    isSecond(number) {
      const { run, validation } = this.spec.curves[number];
      const earlier = this.spec.curves.slice(0, number);
      return this.page.several && !validation && earlier.some((curve) => curve.run === run && !curve.validation);
    }

    dashOf(number) {
      if (this.isSecond(number)) return [2, 3];
      const dashed = this.spec.curves[number].validation && (this.page.several || this.spec.curves.length > 1);
      return dashed ? [6, 3] : undefined;
    }

    /** Draw anew: after a change of smoothing, scale, colours or width. */
    draw() {
      const scale = this.plot && { min: this.plot.scales.x.min, max: this.plot.scales.x.max };
      if (this.plot) this.plot.destroy();
      const weight = this.page.smoothing();
      const colours = theme();
      const tables = this.page.across ? [] : [[[0, this.page.last]]];
      const series = [{}];
      const bands = [];
      this.main = [];
      this.owner = [null];
      this.spec.curves.forEach((curve, number) => {
        const colour = colours.curves[this.colourOf(number)];
        const table = [curve.x];
        const add = (values, options) => {
          table.push(this.log ? values.map((value) => (value > 0 ? value : null)) : values);
          series.push({ points: { show: false }, ...options });
          this.owner.push(number);
          return series.length - 1;
        };
        if (curve.low && !curve.validation) {
          const low = add(curve.low, { stroke: "transparent", width: 0 });
          const high = add(curve.high, { stroke: "transparent", width: 0 });
          bands.push({ series: [high, low], fill: faint(colour, 0.18) });
        }
        // A few validations are points that are joined, not a noisy curve.
        const smooth = weight > 0 && !curve.validation && curve.x.length > 2;
        if (smooth) add(curve.y, { stroke: faint(colour, 0.3), width: 1 });
        this.main.push(
          add(smooth ? smoothed(curve.y, weight) : curve.y, {
            stroke: colour,
            width: 2,
            dash: this.dashOf(number),
            points: { show: curve.validation || curve.x.length < 3, size: 6, fill: colour, stroke: colour },
          }),
        );
        tables.push(table);
      });
      const axis = { stroke: colours.muted, grid: { stroke: colours.line, width: 1 }, ticks: { stroke: colours.line, width: 1 } };
      const label = (_, values) => values.map((value) => (value == null ? "" : shown(value)));
      this.plot = new uPlot(
        {
          width: Math.max(120, this.place.clientWidth),
          height: HEIGHT,
          series,
          bands,
          legend: { show: false },
          scales: { x: { time: false, distr: this.page.across ? 3 : 1 }, y: { distr: this.log ? 3 : 1 } },
          axes: [
            { ...axis, size: 34, values: label, space: 70 },
            { ...axis, size: 62, values: label, space: 34 },
          ],
          cursor: {
            sync: { key: this.page.across ? this.spec.key : "steps", setSeries: false },
            drag: { x: true, y: false },
            dataIdx: (plot, number, index) => nearest(plot.data[number], index),
            points: { size: 7 },
          },
          hooks: {
            setCursor: [() => this.read()],
            draw: [(plot) => this.markOdd(plot, colours.bad)],
          },
        },
        uPlot.join(tables),
        this.place,
      );
      if (scale && scale.max > scale.min) this.plot.setScale("x", scale);
      this.applyVisibility();
      this.read();
    }

    applyVisibility() {
      this.owner.forEach((number, index) => {
        if (number == null) return;
        const show = !this.off.has(number) && !this.page.hidden(this.spec.curves[number].run);
        if (this.plot.series[index].show !== show) this.plot.setSeries(index, { show });
      });
      this.host.querySelectorAll(".legend button").forEach((item, number) => {
        item.hidden = this.page.hidden(this.spec.curves[number].run);
      });
    }

    /** Values at the line of the pointer in the legend; the newest while there is none. */
    read() {
      const { plot } = this;
      if (!plot) return;
      const active = plot.cursor.idx != null && plot.cursor.left >= 0;
      this.at.textContent = active ? `${this.page.across || "step"} ${shown(plot.data[0][plot.cursor.idx])}` : "";
      this.main.forEach((index, number) => {
        const values = plot.data[index];
        const at = active ? nearest(values, plot.cursor.idx) : nearest(values, values.length - 1);
        this.values[number].textContent = shown(at == null ? null : values[at]);
      });
    }

    /** Upright lines where a value was no finite number. */
    markOdd(plot, colour) {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.strokeStyle = colour;
      ctx.setLineDash([4, 4]);
      for (const curve of this.spec.curves) {
        for (const step of curve.odd_at || []) {
          const x = plot.valToPos(step, "x", true);
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
        }
      }
      ctx.restore();
    }

    onKey(event) {
      const jumps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
      if (event.key === "Escape") return this.moveTo(null);
      if (!(event.key in jumps)) return;
      event.preventDefault();
      const last = this.plot.data[0].length - 1;
      const from = this.plot.cursor.idx ?? (jumps[event.key] > 0 ? -1 : last + 1);
      this.moveTo(Math.min(last, Math.max(0, from + jumps[event.key])));
      const said = this.spec.curves.map((curve, number) => `${curve.label} ${this.values[number].textContent}`);
      document.getElementById("said").textContent = `${this.at.textContent}: ${said.join(", ")}`;
    }

    /** The line of the pointer, here and in the charts that share it, at a point of the data or away. */
    moveTo(index) {
      if (!this.plot) return;
      const left = index == null ? -10 : this.plot.valToPos(this.plot.data[0][index], "x");
      this.plot.setCursor({ left, top: index == null ? -10 : 10 }, true, true);
    }

    resize(width) {
      if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
    }
  }

  /** The index with a value that is nearest to another one. */
  function nearest(values, index) {
    for (let away = 0; away < values.length; away++) {
      if (values[index - away] != null) return index - away;
      if (values[index + away] != null) return index + away;
    }
    return null;
  }

  return { Chart, shown };
})();
