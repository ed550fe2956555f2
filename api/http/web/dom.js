// Elements made from text: nothing from an answer is ever read as markup.

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Puts pairs [name, value] into a definition list, leaving what has not changed.
export function showFacts(list, pairs, wrap = false) {
  const text = JSON.stringify(pairs);
  if (list.dataset.shown === text) return;
  list.dataset.shown = text;
  list.replaceChildren(
    ...pairs.flatMap(([name, value]) => {
      const both = [element("dt", {}, name), element("dd", {}, String(value))];
      return wrap ? [element("div", {}, ...both)] : both;
    }),
  );
}
