// Elements of the page, made from text: nothing that is shown is ever parsed as HTML.

export function node(kind, text = "", look = "") {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  if (look) made.className = look;
  return made;
}

// Give the browser a file to keep.
export function save(pieces, name) {
  const link = node("a");
  link.href = URL.createObjectURL(new Blob(pieces));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
