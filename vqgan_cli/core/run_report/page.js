// What a report does: charts and their controls, pictures over time, the codebook's picture, commands to copy.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("run-data").textContent);
  const byId = (id) => document.getElementById(id);

  // What was chosen outlives a reload. A browser may refuse to keep anything for a file.
  const KEPT = `vqgan-report:${location.pathname}`;
  const kept = (() => {
    try {
      return JSON.parse(sessionStorage.getItem(KEPT)) || {};
    } catch {
      return {};
    }
  })();
  function keep(values) {
    Object.assign(kept, values);
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(kept));
    } catch {}
  }

  const said = document.createElement("p");
  said.id = "said";
  said.setAttribute("role", "status");
  document.body.append(said);

  const charts = drawCharts();
  showPictures();
  readCodebook();
  copyCommands();
  followRun();

  function drawCharts() {
    const slider = byId("smoothing");
    const hidden = new Set();
    slider.value = kept.smoothing ?? 0;
    const page = {
      last: Math.max(1, data.last),
      several: data.runs.length > 1,
      smoothing: () => Number(slider.value),
      hidden: (run) => hidden.has(run),
    };
    const logs = (kept.logs ??= {});
    const found = data.charts.map((spec) => new Charts.Chart({ ...spec, log: logs[spec.key] ?? spec.log }, page));
    if (data.codebook && data.codebook.ranks.x.length > 1) found.push(rankChart(page));
    const drawAll = () => found.forEach((chart) => chart.draw());

    for (const chart of found) {
      const button = chart.host.querySelector(".log");
      button?.setAttribute("aria-pressed", String(chart.log));
      button?.addEventListener("click", () => {
        chart.log = !chart.log;
        logs[chart.spec.key] = chart.log;
        keep({ logs });
        button.setAttribute("aria-pressed", String(chart.log));
        chart.draw();
      });
    }
    const nameSmoothing = () => {
      byId("smoothing-value").textContent = Number(slider.value) ? Number(slider.value).toFixed(2) : "none";
    };
    slider.addEventListener("input", () => {
      keep({ smoothing: slider.value });
      nameSmoothing();
      drawAll();
    });
    byId("whole").addEventListener("click", () => {
      for (const { plot } of found) plot.setScale("x", { min: plot.data[0][0], max: plot.data[0].at(-1) });
    });
    for (const button of document.querySelectorAll("button.run")) {
      button.addEventListener("click", () => {
        const run = Number(button.dataset.run);
        const hide = !hidden.has(run);
        hide ? hidden.add(run) : hidden.delete(run);
        button.setAttribute("aria-pressed", String(!hide));
        found.forEach((chart) => chart.applyVisibility());
      });
    }
    nameSmoothing();
    drawAll();
    const observer = new ResizeObserver((entries) => {
      for (const { target, contentRect } of entries) {
        found.find((chart) => chart.place === target).resize(Math.floor(contentRect.width));
      }
    });
    found.forEach((chart) => observer.observe(chart.place));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    // Paper is white: the style sheet's colours of print hold when these are drawn.
    matchMedia("print").addEventListener("change", drawAll);
    return found;
  }

  function rankChart(page) {
    const { ranks } = data.codebook;
    const curve = { run: 0, label: "share of all codes", validation: false, ...ranks };
    const text = `Share of all codes by rank: ${ranks.y[0]} % of the most frequent, ${ranks.y.at(-1)} % of rank ${ranks.x.at(-1)}.`;
    return new Charts.Chart(
      { key: "ranks", log: true, text, curves: [curve] },
      { ...page, several: false, across: "rank", smoothing: () => 0, hidden: () => false },
    );
  }

  function showPictures() {
    const slider = byId("frame");
    if (!slider) return;
    const frames = [...document.querySelectorAll("#frames .frame")];
    const button = byId("play");
    let timer = null;
    const show = (number) => {
      slider.value = number;
      frames.forEach((frame, index) => (frame.hidden = index !== number));
      const step = `step ${Number(frames[number].dataset.step).toLocaleString("en")}`;
      byId("frame-step").textContent = step;
      slider.setAttribute("aria-valuetext", step);
    };
    const stop = () => {
      clearInterval(timer);
      timer = null;
      button.textContent = "play";
      button.setAttribute("aria-pressed", "false");
    };
    slider.addEventListener("input", () => {
      stop();
      show(Number(slider.value));
    });
    byId("frames").addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (!move) return;
      event.preventDefault();
      stop();
      show(Math.min(frames.length - 1, Math.max(0, Number(slider.value) + move)));
    });
    button.addEventListener("click", () => {
      if (timer) return stop();
      button.textContent = "stop";
      button.setAttribute("aria-pressed", "true");
      timer = setInterval(() => show((Number(slider.value) + 1) % frames.length), 500);
    });
    button.disabled = slider.disabled = frames.length < 2;
    show(frames.length - 1);
  }

  function readCodebook() {
    const counts = data.codebook?.counts;
    if (!counts) return;
    const picture = byId("codebook-picture");
    const readout = byId("codebook-readout");
    const total = counts.reduce((sum, count) => sum + count, 0) || 1;
    picture.addEventListener("pointermove", (event) => {
      const cell = picture.clientWidth / data.codebook.width;
      const code = Math.floor(event.offsetY / cell) * data.codebook.width + Math.floor(event.offsetX / cell);
      if (counts[code] === undefined) return;
      const share = Charts.shown((100 * counts[code]) / total);
      readout.textContent = `code ${code}: ${counts[code].toLocaleString("en")} times, ${share} %`;
    });
    picture.addEventListener("pointerleave", () => (readout.textContent = "\u00a0"));
  }

  function copyCommands() {
    for (const button of document.querySelectorAll("button.copy")) {
      button.addEventListener("click", async () => {
        const command = button.previousElementSibling;
        getSelection().selectAllChildren(command);
        try {
          await navigator.clipboard.writeText(command.textContent);
          button.textContent = "copied";
        } catch {
          button.textContent = "selected"; // a file may not be allowed to write there
        }
        setTimeout(() => (button.textContent = "copy"), 1500);
      });
    }
  }

  /** How old the page is, and, if that is asked for, the next version of it. */
  function followRun() {
    const time = document.querySelector("header time");
    if (!time || !data.live) return;
    const tell = () => {
      const minutes = Math.floor((Date.now() - Date.parse(time.dateTime)) / 60000);
      byId("age").textContent = minutes > 0 ? `, ${minutes.toLocaleString("en")} min ago` : ", just now";
    };
    tell();
    setInterval(tell, 30000);
    const box = byId("reload");
    box.checked = kept.reload ?? false;
    box.addEventListener("change", () => keep({ reload: box.checked }));
    setInterval(() => box.checked && location.reload(), 30000);
  }

  // For the tests: what is drawn, by key.
  window.vqganCharts = Object.fromEntries(charts.map((chart) => [chart.spec.key, chart]));
})();
