import { type ReactNode, useEffect, useId, useRef } from 'react';
import { Cross } from './Cross.tsx';

type Props = { title: string; onClose(): void; wide?: boolean; children: ReactNode };

/** A modal dialog for as long as it is rendered. The browser keeps the focus in it and gives it back. */
export function Dialog({ title, onClose, wide = false, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={titleId}
      onCancel={event => {
        event.preventDefault();
        onClose();
      }}
      className={`card w-[calc(100vw-32px)] p-0 ${wide ? 'max-w-2xl' : 'max-w-md'} max-h-[calc(100dvh-32px)]`}
    >
      <div className="flex items-start justify-between gap-4 border-b border-line px-5 py-3">
        <h2 id={titleId} className="text-lg">
          {title}
        </h2>
        <button type="button" className="button button-quiet px-2" aria-label="Close" onClick={onClose}>
          <Cross />
        </button>
      </div>
      <div className="p-5">{children}</div>
    </dialog>
  );
}
