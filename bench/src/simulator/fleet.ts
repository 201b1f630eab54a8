import { healthBody, metricsBody, ResponseWriter } from './answers.ts';
import { type Behaviour, seededRandom } from './behaviour.ts';
import { TOKEN_LENGTH, tokenOf } from './identity.ts';
import { Ledger } from './ledger.ts';
import type { Kind } from './request.ts';
import type { Tls } from './tls.ts';

/** Time as the simulator sees it, so that a test can own it. */
export type Clock = { wallMs: () => number; monotonicMs: () => number };

export const systemClock: Clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };

/** How the servers behave; see the flags of the same names. */
export type FleetOptions = {
  seed: string;
  /** Index of the first server in the whole fleet, of which this may be a part. */
  first: number;
  /** Whether every connection is closed after its first answer. */
  closes: boolean;
  /** Delay before every answer. */
  latencyMs: number;
  /** Bounds of the delay that a `slow` server adds, drawn evenly for each request. */
  slowMinMs: number;
  slowMaxMs: number;
  /** Length of one healthy and one failing half of a `flapping` server together. */
  flapPeriodMs: number;
  healthIntervalMs: number;
  metricsIntervalMs: number;
};

/** What a server does with an authorised request: answer with a status and body, stay silent, or reset. */
type Reaction = { status: number; body: string } | 'silence' | 'reset';

/** What happened on the wire since the start. */
export type Traffic = {
  connectionsAccepted: number;
  connectionsOpen: number;
  /** Requests answered, by HTTP status. */
  answers: Record<number, number>;
  /** Requests whose connection ended without an answer: hung, reset, or given up by the client. */
  unanswered: number;
};

const FAILED: Reaction = { status: 500, body: '{"error":"internal"}' };
const UNAUTHORIZED: Reaction = { status: 401, body: '{"error":"unauthorized"}' };

/**
 * The simulated servers without their sockets: who they are, how they behave, what they have seen. A server is
 * named by its place in this part of the fleet, from 0.
 */
export class Fleet {
  readonly behaviours: Behaviour[];
  readonly ledger: Ledger;
  readonly responses: ResponseWriter;
  readonly closes: boolean;
  readonly tls: Tls | undefined;
  readonly traffic: Traffic = { connectionsAccepted: 0, connectionsOpen: 0, answers: {}, unanswered: 0 };
  readonly #options: FleetOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #startedMs: number;
  readonly #tokens: Buffer;

  constructor(
    behaviours: Behaviour[],
    options: FleetOptions,
    { clock, tls }: { clock: Clock; tls?: Tls | undefined },
  ) {
    this.behaviours = behaviours;
    this.#options = options;
    this.closes = options.closes;
    this.tls = tls;
    this.#clock = clock;
    this.#random = seededRandom(options.seed);
    this.#startedMs = clock.monotonicMs();
    this.#tokens = Buffer.from(
      behaviours.map((_, index) => tokenOf(options.seed, options.first + index)).join(''),
    );
    this.responses = new ResponseWriter(clock.wallMs);
    this.ledger = new Ledger(
      behaviours,
      { health: options.healthIntervalMs, metrics: options.metricsIntervalMs },
      clock.monotonicMs,
    );
  }

  /** Whether the bytes are the server's token. Not in constant time: the tokens guard nothing. */
  isToken(index: number, buffer: Buffer, start: number, end: number): boolean {
    if (end - start !== TOKEN_LENGTH) return false;
    const own = index * TOKEN_LENGTH;
    return this.#tokens.compare(buffer, start, end, own, own + TOKEN_LENGTH) === 0;
  }

  react(index: number, kind: Kind): Reaction {
    const behaviour = this.behaviours[index]!;
    switch (behaviour) {
      case 'healthy':
      case 'slow':
        return { status: 200, body: this.#body(index, kind, false) };
      case 'degraded':
        return { status: 200, body: this.#body(index, kind, true) };
      case 'flapping':
        return this.#isInFailingHalf() ? FAILED : { status: 200, body: this.#body(index, kind, false) };
      case 'error':
        return FAILED;
      case 'unauthorized':
        return UNAUTHORIZED;
      case 'reset':
        return 'reset';
      case 'hang':
      // The last two are reached only by a connection that was open before the server took to it.
      case 'refuse':
      case 'blackhole':
        break;
    }
    return 'silence';
  }

  /** How long to wait before the answer to one request. */
  delayMs(index: number): number {
    const { latencyMs, slowMinMs, slowMaxMs } = this.#options;
    if (this.behaviours[index] !== 'slow') return latencyMs;
    return latencyMs + slowMinMs + this.#random() * (slowMaxMs - slowMinMs);
  }

  countAnswer(status: number): void {
    this.traffic.answers[status] = (this.traffic.answers[status] ?? 0) + 1;
  }

  #body(index: number, kind: Kind, degraded: boolean): string {
    if (kind === 'health') return healthBody(degraded);
    // Each server booted 1 to 30 days before the simulator started.
    const upSeconds = 86_400 * (1 + (index % 30)) + this.#elapsedMs() / 1000;
    return metricsBody(this.#options.first + index, upSeconds, degraded);
  }

  #isInFailingHalf(): boolean {
    const { flapPeriodMs } = this.#options;
    return this.#elapsedMs() % flapPeriodMs >= flapPeriodMs / 2;
  }

  #elapsedMs(): number {
    return this.#clock.monotonicMs() - this.#startedMs;
  }
}
