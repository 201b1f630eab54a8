import type { HealthCheck, Server } from '@opsfleet/sdk';
import { useQuery } from '@tanstack/react-query';
import { healthHistoryQuery } from '../api.ts';
import { formatClock, formatDuration } from '../lib/dates.ts';
import { explainReason } from '../lib/reasons.ts';
import { type Stretch, stretchesOf } from '../lib/transitions.ts';
import { useEverySecond } from '../ui/clock.ts';
import { Skeleton } from '../ui/Skeleton.tsx';
import { useDelayed } from '../ui/useDelayed.ts';
import { ErrorPanel } from './ErrorPanel.tsx';
import { type DisplayState, HealthBadge } from './HealthGlyph.tsx';

const hourMs = 3_600_000;
/** One cell a minute; the worst check of that minute decides it. */
const cellMs = 60_000;
const cells = hourMs / cellMs;
const shownStretches = 8;

type CheckStatus = HealthCheck['status'];

// Severity is also height, so that the strip reads without its colours.
const cellLook: Record<CheckStatus, { height: number; color: string; severity: number }> = {
  healthy: { height: 60, color: 'var(--healthy)', severity: 0 },
  error: { height: 40, color: 'var(--unknown)', severity: 1 },
  degraded: { height: 80, color: 'var(--warning)', severity: 2 },
  critical: { height: 100, color: 'var(--critical)', severity: 3 },
  unreachable: { height: 100, color: 'var(--offline)', severity: 4 },
};

/** Our own failure to check says nothing of the server. */
const stateOf = (status: CheckStatus): DisplayState => (status === 'error' ? 'unknown' : status);

/** What the checks of the last hour found: a strip to see, and the stretches to read. */
export function HealthHistory({ server }: { server: Server }) {
  const { data: checks, error, isPending, refetch } = useQuery(healthHistoryQuery(server.id));
  const showSkeleton = useDelayed(isPending);
  return (
    <section className="card p-4" aria-labelledby="health-history">
      <h2 id="health-history">Checks of the last hour</h2>
      {error === null ? null : (
        <ErrorPanel what="The checks could not be loaded." error={error} onRetry={() => void refetch()} />
      )}
      {checks === undefined ? (
        <div className="mt-3 min-h-32">{showSkeleton ? <Skeleton width="100%" height="32px" /> : null}</div>
      ) : (
        <History checks={checks} />
      )}
    </section>
  );
}

function History({ checks }: { checks: readonly HealthCheck[] }) {
  if (checks.length === 0) return <p className="mt-2 text-muted">No check in the last hour.</p>;
  const healthy = checks.filter(check => check.status === 'healthy').length;
  const stretches = stretchesOf(checks);
  return (
    <>
      <p className="numbers text-sm text-muted">
        {healthy} of {checks.length} checks found it healthy.
      </p>
      <Strip checks={checks} />
      <ol className="mt-3 divide-y divide-line">
        {stretches.slice(0, shownStretches).map(stretch => (
          <StretchLine key={stretch.to} stretch={stretch} />
        ))}
      </ol>
      {stretches.length > shownStretches ? (
        <p className="mt-2 text-sm text-muted">
          And {stretches.length - shownStretches} earlier changes in this hour.
        </p>
      ) : null}
    </>
  );
}

function Strip({ checks }: { checks: readonly HealthCheck[] }) {
  // To the end of this minute: the strip moves once a minute, and not with every check.
  const endMs = (useEverySecond(now => Math.floor(now.getTime() / cellMs)) + 1) * cellMs;
  const worst = new Map<number, CheckStatus>();
  for (const { timestamp, status } of checks) {
    const cell = cells - 1 - Math.floor((endMs - new Date(timestamp).getTime()) / cellMs);
    const known = worst.get(cell);
    if (known === undefined || cellLook[status].severity > cellLook[known].severity) worst.set(cell, status);
  }
  return (
    <svg
      viewBox={`0 0 ${cells * 8} 32`}
      preserveAspectRatio="none"
      className="mt-2 block h-8 w-full"
      aria-hidden="true"
    >
      {Array.from({ length: cells }, (_, cell) => {
        const status = worst.get(cell);
        const height = status === undefined ? 2 : (cellLook[status].height / 100) * 32;
        const color = status === undefined ? 'var(--control)' : cellLook[status].color;
        return <rect key={cell} x={cell * 8} y={32 - height} width="6" height={height} fill={color} />;
      })}
    </svg>
  );
}

function StretchLine({ stretch: { status, reason, message, from, to, checks } }: { stretch: Stretch }) {
  const lengthMs = new Date(to).getTime() - new Date(from).getTime();
  return (
    <li className="flex flex-wrap items-baseline justify-between gap-x-4 py-2">
      <span className="min-w-0">
        <HealthBadge state={stateOf(status)} />
        {status === 'healthy' ? null : (
          <span className="block text-sm text-muted wrap-anywhere">{message ?? explainReason(reason)}</span>
        )}
      </span>
      <span className="numbers text-sm text-muted">
        <time dateTime={from}>{formatClock(new Date(from))}</time>
        {checks === 1 ? ', one check' : `, ${formatDuration(lengthMs)}, ${checks} checks`}
      </span>
    </li>
  );
}
