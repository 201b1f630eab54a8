import { type ReactNode, useEffect, useRef } from 'react';

type Props = {
  /** For the tab, e.g. `(3) Servers`. */
  title: string;
  children: ReactNode;
};

/** The path whose heading came last. The first page of a visit leaves the focus where the browser put it. */
let lastPath: string | null = null;
let hasMovedFocus = false;

/**
 * The one h1 of a page. Coming from another page the focus moves to it, so that a screen reader announces
 * where one is; filtering the same page moves nothing.
 */
export function PageTitle({ title, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · opsfleet`;
  }, [title]);
  useEffect(() => {
    // While a page loads and when it has loaded are two headings of one path; the second takes over from the first.
    const isOrphaned = hasMovedFocus && document.activeElement === document.body;
    if ((lastPath !== null && lastPath !== location.pathname) || isOrphaned) {
      heading.current?.focus({ preventScroll: true });
      hasMovedFocus = true;
    }
    lastPath = location.pathname;
  }, []);
  return (
    <h1 ref={heading} tabIndex={-1} className="min-w-0 wrap-anywhere">
      {children}
    </h1>
  );
}
