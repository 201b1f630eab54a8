import type { Purpose } from './SchemaForm.tsx';

/** What the settings of a server are for. Limits and formats come from the API's schema. */
export const serverPurposes: Readonly<Record<string, Purpose>> = {
  name: { text: 'What people call it. No two servers share a name.', placeholder: 'web-1' },
  hostname: { text: 'The host it runs on.', placeholder: 'web-1.example.com' },
  api_url: {
    text: 'Where it is asked for its health and metrics.',
    placeholder: 'https://web-1.example.com:7710',
  },
  api_token: { text: 'The token it expects. It is stored encrypted and never shown again.' },
  region: { text: 'Where it stands, for filters and groups.', placeholder: 'eu-west' },
  environment: { text: 'What it is used for.', placeholder: 'production' },
  tags: { text: 'Separated by commas.', placeholder: 'web, customer-a' },
  metadata: { text: 'Anything else worth keeping, as a JSON object.', placeholder: '{"rack": "b4"}' },
  adapter: {
    text: 'How it is asked: opsfleet’s own contract, Prometheus node_exporter, or any HTTP address.',
  },
  health_interval_seconds: {
    text: 'Seconds between two health checks. Left empty, it is as for all servers.',
    placeholder: '30',
  },
  metrics_interval_seconds: {
    text: 'Seconds between two collections of metrics. Left empty, it is as for all servers.',
    placeholder: '60',
  },
  status: { text: 'Only active servers are checked.' },
};
