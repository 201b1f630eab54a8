import { formatClock } from '../lib/dates.ts';
import { useLiveStatus } from '../live.ts';
import { useEverySecond } from '../ui/clock.ts';

/** The stream says something every 15 s; later than this, it is late. */
const lateAfterMs = 20_000;

/** Whether what is shown is live, and how old it is. */
export function LiveChip() {
  const { phase, lastActivityAt } = useLiveStatus();
  const ageSeconds = useEverySecond(now =>
    lastActivityAt === null ? -1 : Math.max(0, Math.floor((now.getTime() - lastActivityAt) / 1000)),
  );
  const isLate = phase === 'live' && ageSeconds * 1000 > lateAfterMs;
  const asOf = lastActivityAt === null ? '' : `as of ${formatClock(new Date(lastActivityAt))}`;
  const [word, rest, color] =
    phase === 'live' && !isLate
      ? (['Live', ageSeconds < 0 ? '' : `${ageSeconds} s`, 'bg-healthy'] as const)
      : isLate
        ? (['Delayed', `${ageSeconds} s, ${asOf}`, 'bg-warning'] as const)
        : ([phase === 'connecting' ? 'Connecting' : 'Reconnecting', asOf, 'bg-warning'] as const);
  return (
    <span className="inline-flex min-h-6 items-center gap-2 rounded-full border border-line bg-surface-0 px-2.5 text-xs">
      <span
        aria-hidden="true"
        className={`size-2 ${word === 'Live' ? 'rounded-full' : 'rotate-45'} ${color}`}
      />
      {/* Only the word is announced: the seconds would never let a screen reader rest. */}
      <output>{word}</output>
      <span className="numbers min-w-7 text-muted" title="Age of the data">
        {rest}
      </span>
    </span>
  );
}

/** Whether the values on the page are older than they should be. */
export function useIsStale(): boolean {
  const { phase, lastActivityAt } = useLiveStatus();
  const isLate = useEverySecond(
    now => lastActivityAt !== null && now.getTime() - lastActivityAt > lateAfterMs,
  );
  return isLate || phase === 'reconnecting';
}
