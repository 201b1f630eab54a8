import type { Instruments } from '../platform/instruments.ts';
import { askHealth, type OpenToken } from './polls.ts';
import { createQuestions, type QuestionsOptions } from './questions.ts';
import { createSecondLook, type SecondLook } from './second-look.ts';
import { createTestimony, type TestimonyOptions } from './testimony.ts';

/** This worker's part in the second look at servers: it asks the others, and answers them. */
export type Witnesses = SecondLook & {
  /** Another worker asks. */
  onAsked(): void;
  run(signal: AbortSignal): Promise<void>;
};

export function createWitnesses(
  options: QuestionsOptions &
    Omit<TestimonyOptions, 'check'> & { openToken: OpenToken; instruments: Instruments },
): Witnesses {
  const questions = createQuestions(options);
  const testimony = createTestimony({ ...options, check: entry => askHealth(options, entry) });
  return {
    ...createSecondLook({ questions, instruments: options.instruments }),
    onAsked: testimony.wake,
    async run(signal) {
      await Promise.all([questions.run(signal), testimony.run(signal)]);
    },
  };
}
