import { STATUS_CODES } from 'node:http';

const OK_HEALTH = '{"database":{"status":"ok"},"redis":{"status":"ok"},"services":{"healthy":true}}';
const DEGRADED_HEALTH = '{"database":{"status":"ok"},"redis":{"status":"ok"},"services":{"healthy":false}}';

/** The body of `GET /health`: the two components and the services, all well or with failed services. */
export function healthBody(degraded: boolean): string {
  return degraded ? DEGRADED_HEALTH : OK_HEALTH;
}

/**
 * The body of `GET /api/v1/metrics/current`: percentages that swing within 0–100, each server at its own
 * level and pace, and counters that only grow. `upSeconds` is the simulated time since the server's boot,
 * so a restarted simulator looks like a rebooted fleet.
 */
export function metricsBody(index: number, upSeconds: number, degraded: boolean): string {
  const phase = index * 0.7;
  const cpuPercent = 35 + (index % 30) + 20 * Math.sin(upSeconds / 47 + phase);
  const memoryPercent = 50 + (index % 25) + 8 * Math.sin(upSeconds / 311 + phase);
  const diskPercent = Math.min(99, 30 + (index % 50) + upSeconds / 86_400);
  const rxBytes = traffic(upSeconds, 40_000 + (index % 100) * 3_000, phase);
  const txBytes = traffic(upSeconds, 15_000 + (index % 70) * 2_000, phase + 1);
  const llmRequests = Math.floor(upSeconds * (0.2 + (index % 10) / 10));
  const failedServices = degraded ? 1 : 0;
  return (
    `{"cpu_percent":${oneDecimal(cpuPercent)},"memory_percent":${oneDecimal(memoryPercent)}` +
    `,"disk_percent":${oneDecimal(diskPercent)}` +
    `,"network_rx_bytes":${rxBytes},"network_tx_bytes":${txBytes}` +
    `,"active_services":${12 - failedServices},"failed_services":${failedServices},"total_services":12` +
    `,"llm_requests":${llmRequests},"llm_cost_usd":${(llmRequests * 21) / 10_000}` +
    `,"active_users":${1 + (index % 5)},"total_users":${10 + (index % 40)}}`
  );
}

/** Bytes so far at a rate that swings by half. It is the integral of the rate, so it never shrinks. */
function traffic(upSeconds: number, bytesPerSecond: number, phase: number): number {
  const swingSeconds = 60;
  const swing = 0.5 * swingSeconds * (Math.sin(upSeconds / swingSeconds + phase) - Math.sin(phase));
  return Math.floor(bytesPerSecond * (upSeconds + swing));
}

function oneDecimal(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Makes whole HTTP responses. The `Date` line costs more than the rest, so it is made once a second. */
export class ResponseWriter {
  readonly #wallMs: () => number;
  #second = -1;
  #dateLine = '';

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  /** The response as a latin1 string. `body` is ASCII JSON. */
  write(status: number, body: string, keepAlive: boolean): string {
    const second = Math.floor(this.#wallMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#dateLine = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
    }
    const statusLine =
      status === 200 ? 'HTTP/1.1 200 OK\r\n' : `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`;
    const connection = keepAlive ? '' : 'Connection: close\r\n';
    return `${statusLine}${this.#dateLine}${connection}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  }
}
