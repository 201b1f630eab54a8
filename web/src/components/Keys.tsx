import { createContext, type ReactNode, use, useEffect, useState } from 'react';
import { Dialog } from '../ui/Dialog.tsx';
import {
  areShortcutsOn,
  createKeyboard,
  isTyping,
  type Keyboard,
  type Shortcut,
  setShortcutsOn,
} from './shortcuts.ts';

const KeyboardContext = createContext<{ keyboard: Keyboard; showSheet(): void } | null>(null);

function useKeyboard(): { keyboard: Keyboard; showSheet(): void } {
  const context = use(KeyboardContext);
  if (context === null) throw new Error('useKeyboard outside of KeysProvider');
  return context;
}

/** Listens for the shortcuts of the pages inside it. `?` shows them. */
export function KeysProvider({ children }: { children: ReactNode }) {
  const [keyboard] = useState(createKeyboard);
  const [isSheetOpen, setIsSheetOpen] = useState(false);
  const [showSheet] = useState(() => () => setIsSheetOpen(true));
  useEffect(
    () => keyboard.add([{ keys: '?', does: 'Show the keyboard shortcuts', run: showSheet }]),
    [keyboard, showSheet],
  );
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (isTyping(event.target) || document.querySelector('dialog[open]') !== null || !areShortcutsOn())
        return;
      if (keyboard.press(event.key, event.timeStamp)) event.preventDefault();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [keyboard]);
  return (
    <KeyboardContext value={{ keyboard, showSheet }}>
      {children}
      {isSheetOpen ? <ShortcutSheet keyboard={keyboard} onClose={() => setIsSheetOpen(false)} /> : null}
    </KeyboardContext>
  );
}

/** Gives a page its shortcuts while it is there. The list must stay the same from one rendering to the next. */
export function useShortcuts(shortcuts: readonly Shortcut[]): void {
  const { keyboard } = useKeyboard();
  useEffect(() => keyboard.add(shortcuts), [keyboard, shortcuts]);
}

export const useShortcutSheet = (): (() => void) => useKeyboard().showSheet;

function ShortcutSheet({ keyboard, onClose }: { keyboard: Keyboard; onClose(): void }) {
  const [isOn, setIsOn] = useState(areShortcutsOn);
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <dl className="grid grid-cols-[auto_1fr] items-center gap-x-4 gap-y-2">
        {keyboard.all().map(({ keys, does }) => (
          <div key={keys} className="col-span-2 grid grid-cols-subgrid">
            <dt className="flex gap-1">
              {keys.split(' ').map(key => (
                <kbd key={key} className="kbd">
                  {key}
                </kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
        <div className="col-span-2 grid grid-cols-subgrid">
          <dt>
            <kbd className="kbd">Esc</kbd>
          </dt>
          <dd>Close what is open</dd>
        </div>
      </dl>
      <label className="mt-4 flex min-h-8 items-center gap-2 border-t border-line pt-3">
        <input
          type="checkbox"
          className="size-4"
          checked={isOn}
          onChange={event => {
            setShortcutsOn(event.target.checked);
            setIsOn(event.target.checked);
          }}
        />
        Single-key shortcuts are on
      </label>
    </Dialog>
  );
}
