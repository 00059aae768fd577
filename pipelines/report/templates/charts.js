// Draws the charts. Values come from the block of JSON; data is drawn on a canvas or set as text, so it is never markup.
(() => {
  "use strict";
  const values = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 44rem)");
  const LIGHT = ["#2f6fd0", "#d98324", "#2a9a78", "#bf3f5b", "#7d56c2", "#8a7c1e", "#2596b5", "#b257a1", "#5c9a3b", "#9e5d2f", "#4b57a6", "#707b86"];
  const DARK = ["#6ea2f2", "#eba54f", "#55c0a0", "#ec7b91", "#ab8aec", "#cbbb55", "#5bc0dc", "#dc8ccf", "#92c971", "#cf946a", "#8f9aea", "#9aa5b0"];
  const STAGES = { read: "--s0", identify: "--s4", tokenize: "--s1", infer: "--s2", write: "--s3" };
  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
  const ALL = "";  // stands for all languages

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const color = (i) => (dark.matches ? DARK : LIGHT)[i];
  const short = (text, length = 24) => ([...text].length > length ? [...text].slice(0, length - 1).join("") + "…" : text);
  const count = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 2 });
  const compact = (value) => value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 });
  const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "0 %");

  const axis = ({ axisLabel, ...more }) => ({
    axisLine: { lineStyle: { color: css("--line") } }, axisTick: { show: false },
    axisLabel: { color: css("--dim"), fontSize: 12, hideOverlap: true, ...axisLabel },
    splitLine: { lineStyle: { color: css("--line") } }, nameTextStyle: { color: css("--dim"), fontSize: 12 }, ...more,
  });
  const base = ({ grid, tooltip, ...more }) => ({
    animation: false, textStyle: { fontFamily: FONT, color: css("--ink") }, aria: { enabled: false },
    // the labels of the axes are within the box
    grid: { left: 0, right: 14, top: 8, bottom: 0, outerBoundsMode: "same", outerBoundsContain: "all", ...grid },
    tooltip: {
      renderMode: "richText", confine: true, backgroundColor: css("--page"), borderColor: css("--line"), borderWidth: 1,
      textStyle: { color: css("--ink"), fontSize: 12, fontFamily: FONT }, padding: [6, 9], ...tooltip,
    },
    ...more,
  });

  // A legend in HTML wraps, where one on a canvas would be cut off. Its buttons hide and show series.
  const withLegend = (figure, series) => {
    figure.legend.replaceChildren(...series.map(({ name, itemStyle }) => {
      const button = document.createElement("button"), key = document.createElement("span");
      button.type = "button";
      button.setAttribute("aria-pressed", !figure.hidden.has(name));
      key.style.background = itemStyle.color;
      button.append(key, name);
      button.onclick = () => {
        if (!figure.hidden.delete(name)) figure.hidden.add(name);
        figure.draw();
        [...figure.legend.children].find((other) => other.textContent === name).focus();
      };
      return button;
    }));
    return series.filter(({ name }) => !figure.hidden.has(name));
  };

  const speed = (series, y) => {
    const { start_s: start, interval_s: width, tokens_per_s: { length } } = values.timeline;
    const end = start + width * length;
    const [unit, unit_s] = end < 120 ? ["s", 1] : end < 7200 ? ["min", 60] : ["h", 3600];
    const x = (i) => (start + i * width) / unit_s;
    return base({
      xAxis: axis({
        type: "value", min: x(0), max: x(length), splitLine: { show: false },
        axisLabel: { formatter: `{value} ${unit}`, showMinLabel: false, showMaxLabel: false },
      }),
      yAxis: axis({ splitNumber: 3, axisLabel: { formatter: compact }, ...y }),
      tooltip: {
        trigger: "axis", axisPointer: { lineStyle: { color: css("--off") } },
        formatter: (items) => [
          `after ${+items[0].axisValue.toFixed(1)} ${unit}`,
          ...items.filter((item) => item.value[1] !== null).map((item) => `${item.seriesName}: ${count(item.value[1])}`),
        ].join("\n"),
      },
      // a level line for each interval, and a gap where no shard finished
      series: series.map(({ list, ...more }) => ({
        type: "line", step: "end", symbol: "none", lineStyle: { width: 1.75 },
        data: list.flatMap((value, i) => [[x(i), value], [x(i + 1), value]]), ...more,
      })),
    });
  };
  const timeline = () => speed(
    [{ name: "tokens per second", list: values.timeline.tokens_per_s, itemStyle: { color: css("--accent") }, areaStyle: { opacity: 0.14 } }],
    { type: "value" },
  );
  const stages = (figure) => {
    const series = Object.entries(values.timeline.stages).map(([name, list]) => ({ name, list, itemStyle: { color: css(STAGES[name]) } }));
    return speed(withLegend(figure, series), { type: "log" });
  };

  const bars = (x, data, describe) => base({
    xAxis: axis(x),
    yAxis: axis({ type: "value", splitNumber: 4, minInterval: 1, axisLabel: { formatter: compact } }),
    tooltip: { formatter: ({ dataIndex }) => describe(dataIndex) },
    series: [{ type: "bar", data, barCategoryGap: "10%", barMaxWidth: 110, itemStyle: { color: css("--accent"), borderRadius: [2, 2, 0, 0] } }],
  });
  const of = (counts, i) => `${count(counts[i])} (${percent(counts[i], counts.reduce((a, b) => a + b, 0))})`;

  const lengths = (figure) => {
    const { bins, counts } = values.lengths;
    const shown = counts[figure.lang];
    return bars({ type: "category", data: bins }, shown, (i) => `${bins[i]} tokens: ${of(shown, i)}`);
  };

  const numbers = (figure) => {
    const { edges, counts } = values.statistics[figure.index];
    const shown = counts[figure.lang];
    const digits = (value) => (Math.abs(value) >= 10000 ? compact(value) : String(+value.toPrecision(3)));
    const x = { type: "value", min: edges[0], max: edges[edges.length - 1], splitLine: { show: false }, axisLabel: { formatter: digits } };
    const data = shown.map((value, i) => [(edges[i] + edges[i + 1]) / 2, value]);
    return bars(x, data, (i) => `${digits(edges[i])} to ${digits(edges[i + 1])}: ${of(shown, i)}`);
  };

  const labels = (figure) => {
    const { labels: names, counts, totals } = values.statistics[figure.index];
    const langs = Object.keys(totals).filter((lang) => lang !== ALL && totals[lang]);
    const rows = (langs.length ? langs : [ALL]).slice().reverse();
    const shown = names.slice(0, LIGHT.length);
    const share = (lang, number) => (totals[lang] ? (100 * number) / totals[lang] : 0);
    const rest = (lang) => totals[lang] - shown.reduce((sum, _, i) => sum + counts[lang][i], 0);
    const series = shown.map((name, i) => ({
      name: short(name), data: rows.map((lang) => share(lang, counts[lang][i])), itemStyle: { color: color(i) },
    }));
    if (rows.some((lang) => rest(lang) > 0)) {
      series.push({ name: "other", data: rows.map((lang) => share(lang, rest(lang))), itemStyle: { color: css("--off") } });
    }
    figure.plot.style.height = `${2.5 + 1.5 * rows.length}rem`;
    return base({
      xAxis: axis({ type: "value", max: 100, axisLabel: { formatter: "{value} %" } }),
      yAxis: axis({ type: "category", data: rows.map((lang) => short(lang || "all", 12)), axisLine: { show: false } }),
      tooltip: { formatter: (item) => `${item.name}: ${item.seriesName} ${item.value.toFixed(1)} %` },
      series: withLegend(figure, series).map((item) => ({ type: "bar", stack: "all", barCategoryGap: "28%", ...item })),
    });
  };

  const vectors = (figure) => {
    const { points, explained } = values.statistics[figure.index];
    const langs = Object.keys(points).filter((lang) => points[lang].length).sort((a, b) => (a === ALL) - (b === ALL));
    const component = (i) => axis({
      type: "value", scale: true, nameLocation: "middle", nameGap: i ? 36 : 26,
      name: `component ${i + 1}, ${percent(explained[i], 1)} of variance`,
      axisLabel: { formatter: (value) => String(+value.toPrecision(3)) },
    });
    const series = langs.map((lang, i) => ({
      name: short(lang || "other", 12), data: points[lang],
      itemStyle: { opacity: 0.72, color: lang === ALL && langs.length > 1 ? css("--off") : color(i) },
    }));
    return base({
      xAxis: component(0), yAxis: component(1), tooltip: { formatter: (item) => item.seriesName, show: langs.length > 1 },
      series: (langs.length > 1 ? withLegend(figure, series) : series)
        .map((item) => ({ type: "scatter", symbolSize: narrow.matches ? 4 : 5.5, ...item })),
    });
  };

  const curve = (figure) => {
    const { series, log, percent: isShare } = values.curves[figure.index];
    const digits = (value) => {
      if (isShare) return `${+(100 * value).toFixed(2)} %`;
      return Math.abs(value) >= 10000 ? compact(value) : String(+value.toPrecision(4));
    };
    const lines = series.map(({ name, points }, i) => ({
      name: short(name), data: points, itemStyle: { color: color(i % LIGHT.length) }, showSymbol: points.length <= 20,
    }));
    return base({
      xAxis: axis({ type: "value", min: 0, splitLine: { show: false }, axisLabel: { formatter: compact } }),
      yAxis: axis({ type: log ? "log" : "value", scale: true, splitNumber: 4, axisLabel: { formatter: digits } }),
      tooltip: {
        trigger: "axis", axisPointer: { lineStyle: { color: css("--off") } },
        formatter: (items) => items.map(({ seriesName, value }) => `${seriesName}, step ${count(value[0])}: ${digits(value[1])}`).join("\n"),
      },
      series: (lines.length > 1 ? withLegend(figure, lines) : lines)
        .map((line) => ({ type: "line", symbolSize: 5, lineStyle: { width: 1.75 }, ...line })),
    });
  };

  const DRAW = { timeline, stages, lengths, numbers, labels, vectors, curve };
  const element = (figure, name, ...classes) => {
    const added = document.createElement(name);
    added.classList.add(...classes);
    figure.append(added);
    return added;
  };
  const figures = [...document.querySelectorAll("figure[data-chart]")].map((box) => {
    box.hidden = false;
    const kind = box.dataset.chart, index = Number(box.dataset.index);
    const figure = { index, lang: ALL, hidden: new Set(), chart: null };
    const langs = kind === "lengths" ? values.lengths.counts : kind === "numbers" ? values.statistics[index].counts : {};
    if (Object.keys(langs).length > 2) {
      const select = element(box, "select");
      select.setAttribute("aria-label", "language");
      for (const lang of Object.keys(langs)) select.add(new Option(lang === ALL ? "all languages" : short(lang, 16), lang));
      select.onchange = () => { figure.lang = select.value; figure.draw(); };
    }
    figure.legend = element(box, "div", "keys");
    figure.plot = element(box, "div", "plot");
    figure.draw = () => {
      const options = DRAW[kind](figure);  // may change the height
      figure.chart = figure.chart || echarts.init(figure.plot);
      figure.chart.resize();
      figure.chart.setOption(options, true);
    };
    return figure;
  });
  const drawAll = () => figures.forEach((figure) => figure.draw());
  drawAll();
  dark.addEventListener("change", drawAll);
  let waiting = 0;
  addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(drawAll); });
})();
