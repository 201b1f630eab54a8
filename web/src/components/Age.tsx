import { formatAge, formatInstant } from '../lib/dates.ts';
import { noData } from '../lib/units.ts';
import { useEverySecond } from '../ui/clock.ts';
import { NoData } from './NoData.tsx';

type Props = { at: string | null; missing?: string };

/** How long ago, kept current; the exact time on a closer look. `missing` says what its absence means. */
export function Age({ at, missing = 'no data' }: Props) {
  const text = useEverySecond(now => (at === null ? noData : formatAge(new Date(at), now)));
  if (at === null) return <NoData label={missing} />;
  return (
    <time dateTime={at} title={formatInstant(new Date(at))} className="numbers whitespace-nowrap">
      {text}
    </time>
  );
}
