import { noData } from '../lib/units.ts';

/** A dash to see, words to hear. */
export const NoData = ({ label = 'no data' }: { label?: string }) => (
  <span title={label}>
    <span aria-hidden="true">{noData}</span>
    <span className="sr-only">{label}</span>
  </span>
);
