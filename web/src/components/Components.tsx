import type { Server } from '@opsfleet/sdk';
import { HealthGlyph } from './HealthGlyph.tsx';

/** One part of a server as it reported it. */
type Part = { name: string; isHealthy: boolean; isCritical: boolean; status: string; message: string };

/** Components come from the server itself, so nothing about their shape is taken for granted. */
function partsOf(components: Server['components']): Part[] {
  return Object.entries(components ?? {}).flatMap(([name, value]) => {
    if (typeof value !== 'object' || value === null) return [];
    const { healthy, critical, status, message } = value as Record<string, unknown>;
    return [
      {
        name,
        isHealthy: healthy === true,
        isCritical: critical === true,
        status: typeof status === 'string' ? status : '',
        message: typeof message === 'string' ? message : '',
      },
    ];
  });
}

/** What the server is made of, as it reported it at its last check; what has failed first. */
export function Components({ server }: { server: Server }) {
  const parts = partsOf(server.components).toSorted((a, b) => Number(a.isHealthy) - Number(b.isHealthy));
  return (
    <section className="card p-4" aria-labelledby="components">
      <h2 id="components">Components</h2>
      {parts.length === 0 ? (
        <p className="mt-2 text-muted">
          {server.last_health_check_at === null
            ? 'Known after the first check.'
            : 'It reports no components.'}
        </p>
      ) : (
        <ul className="mt-2 divide-y divide-line">
          {parts.map(part => (
            <PartLine key={part.name} part={part} />
          ))}
        </ul>
      )}
    </section>
  );
}

const PartLine = ({ part }: { part: Part }) => (
  <li className="flex items-start gap-2 py-2">
    <span className="mt-0.5">
      <HealthGlyph state={part.isHealthy ? 'healthy' : part.isCritical ? 'critical' : 'degraded'} />
    </span>
    <span className="min-w-0 flex-1 wrap-anywhere">
      <span className="font-medium">{part.name}</span>
      {part.message === '' ? null : <span className="block text-sm text-muted">{part.message}</span>}
    </span>
    <span className={part.isHealthy ? 'text-muted' : 'font-semibold'}>{part.status}</span>
  </li>
);
