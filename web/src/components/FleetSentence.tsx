import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { Fragment } from 'react';
import { summaryQuery } from '../api.ts';
import { formatCount } from '../lib/units.ts';
import { Skeleton } from '../ui/Skeleton.tsx';
import { useDelayed } from '../ui/useDelayed.ts';
import { ErrorPanel } from './ErrorPanel.tsx';
import { problemsOf, summaryParts } from './summary.ts';

/** The state of the fleet in a sentence; each number leads to exactly the servers it counts. */
export function FleetSentence() {
  const { data: summary, error, isPending, refetch } = useQuery(summaryQuery);
  const showSkeleton = useDelayed(isPending);
  if (summary === undefined) {
    if (error !== null)
      return (
        <ErrorPanel what="The summary could not be loaded." error={error} onRetry={() => void refetch()} />
      );
    return <p className="min-h-6">{showSkeleton ? <Skeleton width="320px" height="20px" /> : null}</p>;
  }
  if (summary.total_servers === 0) return <p className="min-h-6 text-lg">No server is watched yet.</p>;
  const parts = summaryParts(summary);
  const isAllHealthy = summary.healthy_servers === summary.total_servers;
  return (
    <p className="numbers min-h-6 text-lg">
      {parts.map(({ count, words, search }, n) => (
        <Fragment key={words}>
          {n === 0 ? '' : ', '}
          <Link to="/servers" search={search} className="link">
            {formatCount(count)} {words}
          </Link>
        </Fragment>
      ))}
      {parts.length === 0 ? '' : '; '}
      <Link to="/servers" search={{ health: 'healthy', status: 'active' }} className="link">
        {isAllHealthy
          ? summary.total_servers === 1
            ? 'The one server is healthy'
            : `All ${formatCount(summary.total_servers)} servers are healthy`
          : `${formatCount(summary.healthy_servers)} of ${formatCount(summary.total_servers)} healthy`}
      </Link>
      {problemsOf(summary) === 0 && !isAllHealthy ? ', no problems' : ''}.
    </p>
  );
}
