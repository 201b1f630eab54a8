import { readPreference, writePreference } from '../ui/preference.ts';

/** A key, or two in a row, and what they do. */
export type Shortcut = { keys: string; does: string; run(): void };

/** Two keys in a row belong together within this time. */
const sequenceMs = 1_000;
const preference = 'shortcuts';

/** Single keys can be turned off (WCAG 2.1.4): somebody who dictates would press them all the time. */
export const areShortcutsOn = (): boolean => readPreference(preference) !== 'off';
export const setShortcutsOn = (isOn: boolean): void => writePreference(preference, isOn ? null : 'off');

export type Keyboard = {
  /** Adds shortcuts; returns how to take them away. Throws where two would share their keys. */
  add(shortcuts: readonly Shortcut[]): () => void;
  all(): readonly Shortcut[];
  /** Takes one key that was typed outside of any field. True: it was used. */
  press(key: string, atMs: number): boolean;
};

export function createKeyboard(): Keyboard {
  let shortcuts: readonly Shortcut[] = [];
  let before: { key: string; atMs: number } | null = null;

  return {
    add(added) {
      for (const { keys } of added) {
        if (shortcuts.some(each => each.keys === keys)) throw new Error(`the keys "${keys}" are taken`);
      }
      shortcuts = [...shortcuts, ...added];
      return () => {
        shortcuts = shortcuts.filter(each => !added.includes(each));
      };
    },
    all: () => shortcuts,
    press(key, atMs) {
      const sequence = before !== null && atMs - before.atMs <= sequenceMs ? `${before.key} ${key}` : null;
      const found =
        shortcuts.find(each => each.keys === sequence) ?? shortcuts.find(each => each.keys === key);
      before = found === undefined ? { key, atMs } : null;
      found?.run();
      return found !== undefined;
    },
  };
}

/** Whether a key belongs to what has the focus, and not to the page. */
export function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))
  );
}
