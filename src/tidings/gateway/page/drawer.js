// A list that a button in the head opens and closes; Escape and a click elsewhere close it.

export class Drawer {
  #button;
  #panel;

  constructor(button, panel) {
    this.#button = button;
    this.#panel = panel;
    button.onclick = () => this.turn(panel.hidden);
    document.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape" || panel.hidden) return;
      this.turn(false);
      button.focus();
    });
    document.addEventListener("click", ({ target }) => {
      if (!panel.contains(target) && !button.contains(target)) this.turn(false);
    });
  }

  turn(isOpen) {
    this.#panel.hidden = !isOpen;
    this.#button.ariaExpanded = String(isOpen);
    if (isOpen) this.opened?.();
  }
}
