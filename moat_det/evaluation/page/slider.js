// Counts what the two thresholds do to these parts. The rates' intervals are looked up; no statistics are done here.
"use strict";
{
  const data = JSON.parse(document.getElementById("slider-data").textContent);
  const names = ["reject", "review"];
  const state = {reject: data.reject, review: data.review};

  // How many of some ascending scores are at least so high.
  const atLeast = (scores, threshold) => {
    let low = 0, high = scores.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (scores[middle] < threshold) low = middle + 1; else high = middle;
    }
    return scores.length - low;
  };

  const percent = (share) => (100 * share).toFixed(share > 0 && share < 0.1 ? 2 : 1) + " %";

  const show = (name, count, total, limits, what) => {
    const output = document.getElementById("figure-" + name), note = document.getElementById("note-" + name);
    if (!output) return;
    output.dataset.value = count / total;
    if (!limits) {
      output.textContent = name === "alarms" ? (count / total).toPrecision(3) : percent(count / total);
      note.textContent = count + " " + what;
      return;
    }
    const [low, high] = limits[count];
    Object.assign(output.dataset, {low, high});
    output.textContent = percent(count / total);
    note.textContent = percent(low) + " to " + percent(high) + "; " + count + " of " + total + " " + what;
  };

  const draw = () => {
    for (const [name, view] of Object.entries(typeof views === "undefined" ? {} : views))
      if (name === "scores") view.signal("reject", state.reject).signal("review", state.review).runAsync();
  };

  const update = () => {
    const {reject, review} = state;
    for (const name of names) {
      document.getElementById(name).value = state[name];
      document.getElementById(name + "-number").value = state[name];
    }
    const bad = data.bad, good = data.good, parts = bad.length + good.length, limits = data.limits;
    const rejected = atLeast(bad, reject) + atLeast(good, reject);
    const looked = atLeast(bad, review) + atLeast(good, review) - rejected;
    show("escape", bad.length - atLeast(bad, review), bad.length, limits.escape, "defective parts pass");
    show("overkill", atLeast(good, reject), good.length, limits.overkill, "good parts are rejected");
    show("review", looked, parts, limits.parts, "parts go to review");
    show("rejected", rejected, parts, limits.parts, "parts are rejected");
    show("recall", atLeast(data.found, review), data.objects, null, "of " + data.objects + " boxes found");
    show("alarms", atLeast(data.alarms, reject), data.images, null, "in " + data.images + " images");
    draw();
  };

  // Review is never above reject: the one that moves pushes the other.
  const move = (name, value) => {
    if (!Number.isFinite(value)) return false;
    state[name] = Math.min(Math.max(value, data.least), 1);
    if (name === "reject") state.review = Math.min(state.review, state.reject);
    else state.reject = Math.max(state.reject, state.review);
    return true;
  };

  const follow = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const name of names) if (given.has(name)) move(name, parseFloat(given.get(name)));
    update();
  };

  for (const name of names)
    for (const id of [name, name + "-number"])
      document.getElementById(id).addEventListener(id === name ? "input" : "change", (event) => {
        if (move(name, parseFloat(event.target.value)))
          history.replaceState(null, "", "#reject=" + state.reject + "&review=" + state.review);
        update();
      });
  document.getElementById("reset").addEventListener("click", () => {
    Object.assign(state, {reject: data.reject, review: data.review});
    history.replaceState(null, "", "#");
    update();
  });
  window.addEventListener("hashchange", follow);
  document.addEventListener("plotted", draw);
  follow();
}
