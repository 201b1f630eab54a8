/** The name with its sign. */
export const Brand = () => (
  <>
    <svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#16324f" />
      <path d="M8 11h16M8 21h16" stroke="#fff" strokeWidth="2.5" strokeLinecap="round" />
      <circle cx="12" cy="11" r="3.5" fill="#7fcdbb" stroke="#16324f" strokeWidth="2" />
      <circle cx="20" cy="21" r="3.5" fill="#7fcdbb" stroke="#16324f" strokeWidth="2" />
    </svg>
    opsfleet
  </>
);
