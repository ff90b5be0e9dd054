// Commands that are not answered, kept by this tab: they outlive a reload while the server is away.
// To send one again does no harm, for its id is the same.

const KEPT = "tidings.outbox";

const read = () => JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
const write = (commands) => sessionStorage.setItem(KEPT, JSON.stringify(commands));

export function keep(command) {
  write([...read(), command]);
}

export function drop(id) {
  write(read().filter((command) => command.id !== id));
}

// What was not answered, oldest first.
export const unanswered = read;

// Somebody else may sign in.
export function forget() {
  sessionStorage.removeItem(KEPT);
}
