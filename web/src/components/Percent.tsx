import { formatPercent } from '../lib/units.ts';
import { NoData } from './NoData.tsx';

/** A percentage with a bar below it. The bar adds nothing to hear. */
export function Percent({ value }: { value: number | undefined }) {
  return (
    <span className="live-value numbers block">
      {value === undefined ? <NoData /> : formatPercent(value)}
      <span
        aria-hidden="true"
        className="mt-1 block h-1 max-w-20 overflow-hidden rounded-full bg-(--meter-track)"
      >
        <span className="block h-full bg-(--meter)" style={{ width: `${value ?? 0}%` }} />
      </span>
    </span>
  );
}
