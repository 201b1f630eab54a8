import { beforeEach, describe, expect, test } from 'vitest';
import { createKeyboard, type Keyboard } from './shortcuts.ts';

let keyboard: Keyboard;
let done: string[];
const shortcut = (keys: string) => ({ keys, does: keys, run: () => void done.push(keys) });

beforeEach(() => {
  keyboard = createKeyboard();
  done = [];
});

test('a key does what it stands for, and says that it was used', () => {
  keyboard.add([shortcut('/')]);
  expect([keyboard.press('/', 0), keyboard.press('x', 1)]).toEqual([true, false]);
  expect(done).toEqual(['/']);
});

describe('two keys in a row', () => {
  beforeEach(() => void keyboard.add([shortcut('g s'), shortcut('s')]));

  test('belong together when the second follows soon', () => {
    keyboard.press('g', 0);
    keyboard.press('s', 1_000);
    expect(done).toEqual(['g s']);
  });

  test('are two keys when it does not', () => {
    keyboard.press('g', 0);
    keyboard.press('s', 1_001);
    expect(done).toEqual(['s']);
  });
});

test('two shortcuts cannot share their keys', () => {
  keyboard.add([shortcut('n')]);
  expect(() => keyboard.add([shortcut('n')])).toThrow('the keys "n" are taken');
});

test('a page that goes takes its shortcuts along', () => {
  const remove = keyboard.add([shortcut('n')]);
  remove();
  keyboard.press('n', 0);
  expect([done, keyboard.all()]).toEqual([[], []]);
});
