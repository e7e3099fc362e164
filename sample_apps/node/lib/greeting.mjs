import { readFileSync } from 'node:fs';

const words = JSON.parse(readFileSync(new URL('../locales/en.json', import.meta.url)));
export const greet = (name) => `${words.hello}, ${name}`;
