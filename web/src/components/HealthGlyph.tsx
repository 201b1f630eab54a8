import type { ReactNode } from 'react';

/** How a server is, in one word: its health, or why nobody asks it. */
export type DisplayState =
  | 'healthy'
  | 'degraded'
  | 'critical'
  | 'unreachable'
  | 'unknown'
  | 'maintenance'
  | 'inactive';

type Look = { word: string; color: string; shape: ReactNode };

// Drawn on 16 × 16. The mark inside a shape is cut out in the colour of the surface behind it.
const mark = {
  fill: 'none',
  stroke: 'var(--surface-0)',
  strokeWidth: 1.6,
  strokeLinecap: 'round',
  strokeLinejoin: 'round',
} as const;
const unknownShape = (
  <>
    <circle
      cx="8"
      cy="8"
      r="6.2"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeDasharray="2.4 1.6"
    />
    <path
      d="M6.5 6.4c.1-2 3.1-1.9 3 0 0 1-1.5 1.1-1.5 2.3M8 10.9v.1"
      {...mark}
      stroke="currentColor"
      strokeWidth={1.4}
    />
  </>
);

const looks: Record<DisplayState, Look> = {
  healthy: {
    word: 'Healthy',
    color: 'text-healthy',
    shape: (
      <>
        <circle cx="8" cy="8" r="7" fill="currentColor" />
        <path d="M4.8 8.3 7 10.4l4.2-4.6" {...mark} />
      </>
    ),
  },
  degraded: {
    word: 'Degraded',
    color: 'text-warning',
    shape: (
      <>
        <path d="M8 1 15.5 14.5H.5Z" fill="currentColor" />
        <path d="M8 6v4.2M8 12.4v.1" {...mark} />
      </>
    ),
  },
  critical: {
    word: 'Critical',
    color: 'text-critical',
    shape: (
      <>
        <path d="M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1Z" fill="currentColor" />
        <path d="m5.6 5.6 4.8 4.8m0-4.8-4.8 4.8" {...mark} />
      </>
    ),
  },
  unreachable: {
    word: 'Unreachable',
    color: 'text-offline',
    shape: (
      <>
        <rect x="1.5" y="1.5" width="13" height="13" rx="2" fill="currentColor" />
        <path d="m5 11 6-6" {...mark} />
      </>
    ),
  },
  unknown: { word: 'Unknown', color: 'text-unknown', shape: unknownShape },
  maintenance: {
    word: 'Maintenance',
    color: 'text-maintenance',
    shape: (
      <>
        <path d="M8 .5 15.5 8 8 15.5.5 8Z" fill="currentColor" />
        <path d="m6 10 2.6-2.6M10.6 5.4a1.7 1.7 0 1 0 .1 2" {...mark} strokeWidth={1.4} />
      </>
    ),
  },
  inactive: { word: 'Inactive', color: 'text-muted', shape: unknownShape },
};

/** The class that gives a state's colour to text and borders drawn in it. */
export const stateColor = (state: DisplayState): string => looks[state].color;

/** The word for a state. */
export const stateWord = (state: DisplayState): string => looks[state].word;

/** What to show for a server: a paused one has no health that anybody vouches for. */
export const displayState = (server: {
  status: 'active' | 'inactive' | 'maintenance';
  health_status: DisplayState;
}): DisplayState => (server.status === 'active' ? server.health_status : server.status);

export const isProblem = (state: DisplayState): boolean =>
  state === 'degraded' || state === 'critical' || state === 'unreachable';

/** The shape of a state alone, for where its word stands nearby. */
export const HealthGlyph = ({ state, size = 16 }: { state: DisplayState; size?: number }) => (
  <svg
    width={size}
    height={size}
    viewBox="0 0 16 16"
    aria-hidden="true"
    className={`shrink-0 ${looks[state].color}`}
  >
    {looks[state].shape}
  </svg>
);

/** Shape, word and colour of a state. A healthy one is quiet, so that problems stand out. */
export const HealthBadge = ({ state }: { state: DisplayState }) => (
  <span
    className={`inline-flex items-center gap-1.5 ${isProblem(state) ? 'font-semibold' : ''} ${looks[state].color}`}
  >
    <HealthGlyph state={state} />
    {looks[state].word}
  </span>
);
