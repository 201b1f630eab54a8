import { Link } from '@tanstack/react-router';
import { PageTitle } from './PageTitle.tsx';

/** For an address that leads nowhere. */
export function NotFoundPage() {
  return (
    <main className="mx-auto max-w-xl p-8">
      <PageTitle title="Not found">There is nothing at this address</PageTitle>
      <p className="mt-2 text-muted">The link may be old, or a letter may be missing.</p>
      <p className="mt-4">
        <Link to="/servers" className="button">
          Go to the servers
        </Link>
      </p>
    </main>
  );
}
