// Elements of the page, made from text: nothing that is shown is ever parsed as HTML.

export function node(kind, text = "", look = "") {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  if (look) made.className = look;
  return made;
}
