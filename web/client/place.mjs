// Puts the compiled client where the chat page is served from, marked as generated.

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const HEADER = "// Generated from web/client/src by `make client`: change it there.\n\n";
const [from, to] = process.argv.slice(2);

rmSync(to, { recursive: true, force: true });
mkdirSync(to, { recursive: true });
for (const name of readdirSync(from).filter((name) => name.endsWith(".js"))) {
  writeFileSync(join(to, name), HEADER + readFileSync(join(from, name), "utf8"));
}
