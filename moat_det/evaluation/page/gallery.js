// Shows the pictures of the chosen kind and class.
"use strict";
for (const gallery of document.querySelectorAll(".gallery")) {
  const filters = [...gallery.querySelectorAll("select")], shown = gallery.querySelector("output");
  const apply = () => {
    let count = 0;
    for (const figure of gallery.querySelectorAll("figure")) {
      figure.hidden = filters.some((filter) => filter.value && figure.dataset[filter.name] !== filter.value);
      count += !figure.hidden;
    }
    shown.textContent = count + " pictures";
  };
  filters.forEach((filter) => filter.addEventListener("change", apply));
  apply();
}
