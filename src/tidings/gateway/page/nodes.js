// Elements of the page, made from text: nothing that is shown is ever parsed as HTML.

export function node(kind, text = "", look = "") {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  if (look) made.className = look;
  return made;
}

// An entry of a list that leads somewhere: a title, and under it what else there is to say.
export function entry(title, more, act, look = "") {
  const choice = node("button", "", look);
  choice.type = "button";
  choice.append(node("span", title), node("small", more));
  choice.onclick = act;
  const item = node("li");
  item.append(choice);
  return item;
}

// Give the browser a file to keep.
export function save(pieces, name) {
  const link = node("a");
  link.href = URL.createObjectURL(new Blob(pieces));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
