import { Link } from '@tanstack/react-router';
import { activeFilters, type ServerSearch } from '../pages/server-search.ts';
import { Cross } from '../ui/Cross.tsx';

/** No server matches: says which filters are to blame, and how to be rid of each. */
export function NoMatch({ search }: { search: ServerSearch }) {
  return (
    <section className="card p-8 text-center" aria-label="No server matches">
      <h2 className="text-lg">No server matches</h2>
      <p className="mt-1 text-muted">Remove one of these filters, or all of them.</p>
      <ul className="mt-4 flex flex-wrap justify-center gap-2">
        {activeFilters(search).map(({ name, label, value }) => (
          <li key={name}>
            <Link to="/servers" search={{ ...search, [name]: undefined }} className="button max-w-full">
              <span className="truncate">
                {label}: {value}
              </span>
              <Cross />
              <span className="sr-only">remove</span>
            </Link>
          </li>
        ))}
        <li>
          <Link to="/servers" search={{}} className="button button-primary">
            Show all servers
          </Link>
        </li>
      </ul>
    </section>
  );
}

/** The very first visit: what to do to see something here. */
export function FirstServer() {
  return (
    <section className="card p-8" aria-label="Register the first server">
      <h2 className="text-lg">Register your first server</h2>
      <ol className="mt-3 grid list-decimal gap-2 ps-5">
        <li>
          Run <code className="font-mono text-sm">opsfleet-agent</code> on a Linux machine, or have an address
          ready that node_exporter or any HTTP check answers at.
        </li>
        <li>
          <Link to="/servers/new" className="link">
            Register it here
          </Link>{' '}
          with its address and its token.
        </li>
        <li>Its first check follows within two seconds, and this page shows it by itself.</li>
      </ol>
    </section>
  );
}
