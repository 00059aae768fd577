// Draws the charts. Values come from the block of JSON; texts are drawn on a canvas, so they are never markup.
(() => {
  "use strict";
  const values = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 44rem)");
  const LIGHT = ["#2f6fd0", "#d98324", "#2a9a78", "#bf3f5b", "#7d56c2", "#8a7c1e", "#2596b5", "#b257a1", "#5c9a3b", "#9e5d2f", "#4b57a6", "#707b86"];
  const DARK = ["#6ea2f2", "#eba54f", "#55c0a0", "#ec7b91", "#ab8aec", "#cbbb55", "#5bc0dc", "#dc8ccf", "#92c971", "#cf946a", "#8f9aea", "#9aa5b0"];
  const STAGES = { read: "--s0", tokenize: "--s1", infer: "--s2", write: "--s3" };
  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
  const ALL = "";  // stands for all languages

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const palette = () => (dark.matches ? DARK : LIGHT);
  const short = (text, length = 24) => ([...text].length > length ? [...text].slice(0, length - 1).join("") + "…" : text);
  const count = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 2 });
  const compact = (value) => value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 });
  const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "0 %");
  const duration = (s) => (s < 120 ? `${+s.toFixed(1)} s` : s < 7200 ? `${+(s / 60).toFixed(1)} min` : `${+(s / 3600).toFixed(1)} h`);

  const axis = (more = {}) => {
    const { name, ...rest } = more;
    return {
      axisLine: { lineStyle: { color: css("--line") } }, axisTick: { show: false },
      axisLabel: { color: css("--dim"), fontSize: 12, hideOverlap: true, ...(more.axisLabel || {}) },
      splitLine: { lineStyle: { color: css("--line") } },
      nameTextStyle: { color: css("--dim"), fontSize: 12 },
      ...(name ? { name } : {}), ...Object.fromEntries(Object.entries(rest).filter(([key]) => key !== "axisLabel")),
    };
  };
  const base = (more) => ({
    animation: false, textStyle: { fontFamily: FONT, color: css("--ink") }, color: palette(),
    aria: { enabled: false },
    tooltip: {
      renderMode: "richText", confine: true, backgroundColor: css("--page"), borderColor: css("--line"), borderWidth: 1,
      textStyle: { color: css("--ink"), fontSize: 12, fontFamily: FONT }, padding: [6, 9], ...(more.tooltip || {}),
    },
    ...Object.fromEntries(Object.entries(more).filter(([key]) => key !== "tooltip")),
  });
  const legend = (names, more = {}) => ({
    data: names, type: "scroll", icon: "circle", itemWidth: 9, itemHeight: 9, itemGap: 14, left: 0, top: 0,
    textStyle: { color: css("--dim"), fontSize: 12 }, inactiveColor: css("--off"), pageTextStyle: { color: css("--dim") },
    pageIconColor: css("--accent"), pageIconInactiveColor: css("--off"), pageIconSize: 10, ...more,
  });

  const title = (text, top) => ({
    text, left: 0, top, textStyle: { color: css("--dim"), fontSize: 12, fontWeight: "normal", fontFamily: FONT },
  });

  const timeline = () => {
    const { interval_s: width, tokens_per_s: speed, stages } = values.timeline;
    const line = (name, list, index, color, more = {}) => ({
      name, type: "line", step: "end", data: [...list, list[list.length - 1]].map((value, i) => [i * width, value]), xAxisIndex: index, yAxisIndex: index,
      symbol: "none", lineStyle: { width: 1.75 }, itemStyle: { color }, connectNulls: true, ...more,
    });
    const x = (index, labels) => axis({
      type: "value", gridIndex: index, min: 0, max: width * speed.length, splitLine: { show: false },
      axisLabel: { show: labels, formatter: duration, showMaxLabel: false },
    });
    const grid = (more) => ({ left: 46, right: 12, outerBoundsMode: "none", ...more });
    return base({
      title: [title("tokens per second", 0), title("tokens per second of one worker, by stage", "42%")],
      grid: [grid({ top: 26, height: "30%" }), grid({ top: "59%", bottom: 26 })],
      xAxis: [x(0, false), x(1, true)],
      yAxis: [
        axis({ type: "value", gridIndex: 0, splitNumber: 3, axisLabel: { formatter: compact } }),
        axis({ type: "log", gridIndex: 1, axisLabel: { formatter: compact } }),
      ],
      legend: legend(Object.keys(stages), { top: "49%" }),
      tooltip: {
        trigger: "axis", axisPointer: { lineStyle: { color: css("--off") } },
        formatter: (items) => [`after ${duration(items[0].axisValue)}`, ...items.filter((item) => item.value[1] !== null).map((item) => `${item.seriesName}: ${count(item.value[1])}`)].join("\n"),
      },
      series: [
        line("tokens per second", speed, 0, css("--accent"), { areaStyle: { opacity: 0.14 } }),
        ...Object.entries(stages).map(([stage, list]) => line(stage, list, 1, css(STAGES[stage]))),
      ],
    });
  };

  const bars = (text, x, data, describe) => base({
    grid: { left: 46, right: 12, top: 44, bottom: 26, outerBoundsMode: "none" },
    title: title(text, 2),
    xAxis: axis(x),
    yAxis: axis({ type: "value", splitNumber: 4, minInterval: 1, axisLabel: { formatter: compact } }),
    tooltip: { formatter: ({ dataIndex }) => describe(dataIndex) },
    series: [{ type: "bar", data, barCategoryGap: "10%", barMaxWidth: 110, itemStyle: { color: css("--accent"), borderRadius: [2, 2, 0, 0] } }],
  });
  const of = (counts, i) => `${count(counts[i])} (${percent(counts[i], counts.reduce((a, b) => a + b, 0))})`;

  const lengths = (figure) => {
    const { bins, counts } = values.lengths;
    const shown = counts[figure.lang];
    return bars("rows by number of tokens", { type: "category", data: bins }, shown, (i) => `${bins[i]} tokens: ${of(shown, i)}`);
  };

  const numbers = (figure) => {
    const { edges, counts } = values.statistics[figure.index];
    const shown = counts[figure.lang];
    const digits = (value) => (Math.abs(value) >= 10000 ? compact(value) : String(+value.toPrecision(3)));
    const x = { type: "value", min: edges[0], max: edges[edges.length - 1], splitLine: { show: false }, axisLabel: { formatter: digits } };
    const data = shown.map((value, i) => [(edges[i] + edges[i + 1]) / 2, value]);
    return bars("number of values", x, data, (i) => `${digits(edges[i])} to ${digits(edges[i + 1])}: ${of(shown, i)}`);
  };

  const labels = (figure) => {
    const { labels: names, counts, totals } = values.statistics[figure.index];
    const langs = Object.keys(totals).filter((lang) => lang !== ALL && totals[lang]);
    const rows = (langs.length ? langs : [ALL]).slice().reverse();
    const shown = names.slice(0, 8);
    const share = (lang, number) => (totals[lang] ? (100 * number) / totals[lang] : 0);
    const rest = (lang) => totals[lang] - shown.reduce((sum, _, i) => sum + counts[lang][i], 0);
    const series = shown.map((name, i) => ({ name: short(name), data: rows.map((lang) => share(lang, counts[lang][i])) }));
    if (rows.some((lang) => rest(lang) > 0)) {
      series.push({ name: "other", data: rows.map((lang) => share(lang, rest(lang))), itemStyle: { color: css("--off") } });
    }
    figure.box.style.height = `${Math.max(12, 5.5 + 1.45 * rows.length)}rem`;
    return base({
      grid: { left: 8, right: 16, top: 40, bottom: 24, containLabel: true },
      legend: legend(series.map((item) => item.name)),
      xAxis: axis({ type: "value", max: 100, axisLabel: { formatter: "{value} %" } }),
      yAxis: axis({ type: "category", data: rows.map((lang) => short(lang || "all", 12)), axisLine: { show: false } }),
      tooltip: { formatter: (item) => `${item.name}: ${item.seriesName} ${item.value.toFixed(1)} %` },
      series: series.map((item) => ({ type: "bar", stack: "all", barCategoryGap: "28%", ...item })),
    });
  };

  const vectors = (figure) => {
    const { points, explained } = values.statistics[figure.index];
    const langs = Object.keys(points).filter((lang) => points[lang].length).sort((a, b) => (a === ALL) - (b === ALL));
    const label = (lang) => short(lang || (langs.length > 1 ? "other" : "all"), 12);
    const share = (i) => `component ${i + 1}, ${percent(explained[i], 1)} of variance`;
    const component = (i) => axis({
      type: "value", scale: true, name: share(i), nameLocation: "middle", nameGap: i ? 40 : 26,
      axisLabel: { formatter: (value) => String(+value.toPrecision(3)) },
    });
    return base({
      grid: { left: 58, right: 10, top: langs.length > 1 ? 40 : 12, bottom: 44 },
      legend: langs.length > 1 ? legend(langs.map(label)) : undefined,
      xAxis: component(0), yAxis: component(1),
      tooltip: { formatter: (item) => item.seriesName },
      series: langs.map((lang) => ({
        name: label(lang), type: "scatter", data: points[lang], symbolSize: narrow.matches ? 4 : 5.5,
        itemStyle: { opacity: 0.72, ...(lang === ALL && langs.length > 1 ? { color: css("--off") } : {}) },
      })),
    });
  };

  const DRAW = { timeline, lengths, numbers, labels, vectors };
  const figures = [...document.querySelectorAll("figure[data-chart]")].filter(({ dataset }) =>
    dataset.index === undefined ? values[dataset.chart] : values.statistics);

  const chooser = (figure, langs) => {
    const select = document.createElement("select");
    select.className = "choose";
    select.setAttribute("aria-label", "language");
    for (const lang of langs) select.add(new Option(lang === ALL ? "all languages" : short(lang, 16), lang));
    select.onchange = () => { figure.lang = select.value; figure.draw(); };
    figure.box.append(select);
  };

  const drawn = figures.map((box) => {
    box.hidden = false;
    const plot = document.createElement("div");
    plot.className = "plot";
    box.append(plot);
    const figure = { box, index: Number(box.dataset.index), lang: ALL, chart: null };
    figure.draw = () => {
      const options = DRAW[box.dataset.chart](figure);
      figure.chart = figure.chart || echarts.init(plot);
      figure.chart.resize();
      figure.chart.setOption(options, true);
    };
    const kind = box.dataset.chart;
    const counts = kind === "lengths" ? values.lengths.counts : kind === "numbers" ? values.statistics[figure.index].counts : {};
    if (Object.keys(counts).length > 2) chooser(figure, Object.keys(counts));
    return figure;
  });
  const drawAll = () => drawn.forEach((figure) => figure.draw());
  drawAll();
  dark.addEventListener("change", drawAll);
  let waiting = 0;
  addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(drawAll); });
})();
