import type { ButtonHTMLAttributes, ReactNode } from 'react';

type Props = Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'disabled'> & {
  look?: 'primary' | 'danger' | 'quiet';
  /** Why it cannot be pressed now. It stays focusable and says so. */
  unavailable?: string | undefined;
  children: ReactNode;
};

export function Button({
  look,
  unavailable,
  type = 'button',
  className = '',
  onClick,
  children,
  ...rest
}: Props) {
  return (
    <button
      {...rest}
      type={type}
      className={`button ${look === undefined ? '' : `button-${look}`} ${className}`}
      aria-disabled={unavailable === undefined ? undefined : true}
      title={unavailable ?? rest.title}
      onClick={event => {
        if (unavailable === undefined) return onClick?.(event);
        event.preventDefault();
      }}
    >
      {children}
      {unavailable === undefined ? null : <span className="sr-only">({unavailable})</span>}
    </button>
  );
}
