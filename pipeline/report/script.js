"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  // Charts: specifications stand beside their places; colours are the page's CSS variables.
  const views = [];
  const draw = (place) => {
    const spec = read(place.id.replace("chart-", "spec-"));
    const options = { mode: "vega-lite", renderer: "svg", actions: false, tooltip: { theme: "custom" } };
    return window.vegaEmbed(place, spec, options).then((result) => views.push(result.view));
  };
  const drawAll = async () => {
    for (const place of all(".chart")) await draw(place);
    document.documentElement.dataset.ready = "yes";
  };
  if (window.vegaEmbed) drawAll();
  const fit = () => views.forEach((view) => {
    const width = view.container() && view.container().clientWidth;
    if (width) view.resize().width(width).run();
  });
  window.addEventListener("beforeprint", () => {
    all("details[data-print]:not([open])").forEach((part) => { part.open = true; part.dataset.closed = "yes"; });
    // The width that the print style gives each place on A4, in CSS pixels.
    views.forEach((view) => {
      const place = view.container();
      const wide = place.closest(".wide"), first = place.closest(".first");
      view.width(wide ? 640 : first ? 470 : 300).resize().run();
    });
  });
  window.addEventListener("afterprint", () => {
    all("details[data-closed]").forEach((part) => { part.open = false; delete part.dataset.closed; });
    fit();
  });

  // Slices: the slider holds the state; wheel, keys and fingers move it.
  const scroller = (figure) => {
    const frames = read("frames-" + figure.dataset.view);
    const slider = figure.querySelector("input[type=range]");
    const stage = figure.querySelector(".stage");
    const image = stage.querySelector("image");
    const label = figure.querySelector("output");
    const paths = { prediction: {}, reference: {} };
    all("path", stage).forEach((path) => { paths[path.getAttribute("class")][path.dataset.organ] = path; });
    const show = () => {
      const [href, number, prediction, reference] = frames[Number(slider.value)];
      image.setAttribute("href", href);
      for (const [kind, found] of [["prediction", prediction], ["reference", reference]])
        for (const [organ, path] of Object.entries(paths[kind])) path.setAttribute("d", found[organ] || "");
      label.textContent = number + "/" + figure.dataset.depth;
      slider.setAttribute("aria-valuetext", "slice " + number + " of " + figure.dataset.depth);
    };
    const move = (by) => {
      const to = Math.min(frames.length - 1, Math.max(0, Number(slider.value) + by));
      if (to === Number(slider.value)) return false;
      slider.value = to;
      show();
      return true;
    };
    slider.addEventListener("input", show);
    let rest = 0;
    stage.addEventListener("wheel", (event) => {
      if (event.ctrlKey) return;
      rest += event.deltaMode === 0 ? event.deltaY / 40 : event.deltaY;
      const by = Math.trunc(rest);
      rest -= by;
      // At either end the page scrolls on.
      if (by === 0 || move(-by)) event.preventDefault();
    }, { passive: false });
    stage.tabIndex = 0;
    stage.setAttribute("role", "group");
    stage.setAttribute("aria-label", "Slices of a volume: arrow keys move through them");
    stage.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5, Home: -1e4, End: 1e4 };
      if (event.key in steps) { move(steps[event.key]); event.preventDefault(); }
    });
    let from = null;
    stage.addEventListener("pointerdown", (event) => {
      from = { x: event.clientX, at: Number(slider.value) };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => {
      if (!from) return;
      const step = stage.clientWidth / frames.length;
      move(from.at + Math.round((event.clientX - from.x) / step) - Number(slider.value));
    });
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => { from = null; });
  };
  all("figure[data-view]").forEach(scroller);

  // Outlines on and off.
  all("input[data-outline]").forEach((box) => box.addEventListener("change", () => {
    document.body.classList.toggle("no-" + box.dataset.outline, !box.checked);
  }));

  // Light and dark: the system's choice until the button is used.
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // Tables whose columns sort.
  all("table.sortable").forEach((table) => {
    const body = table.tBodies[0];
    all("thead th", table).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => row.cells[column].textContent;
        const order = (a, b) => {
          const [x, y] = [parseFloat(key(a)), parseFloat(key(b))];
          if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
          return key(a).localeCompare(key(b), undefined, { numeric: true });
        };
        Array.from(body.rows).sort((a, b) => (up ? order(a, b) : order(b, a))).forEach((row) => body.append(row));
      });
    });
  });
})();
