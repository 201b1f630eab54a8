/** How firm a server's health is: a word for a list, and what it means for a page. */
export type Doubt = { word: string; sentence: string; since: string };

type Facts = {
  status: string;
  suspect_since: string | null;
  recovering_since: string | null;
  flapping_since: string | null;
  breaker_opened_at: string | null;
};

const kinds = [
  {
    fact: 'suspect_since',
    word: 'Suspect',
    sentence: 'Its last check failed. It is called down when three in a row have.',
  },
  {
    fact: 'recovering_since',
    word: 'Recovering',
    sentence: 'It answers again. It is believed when it has answered twice.',
  },
  {
    fact: 'flapping_since',
    word: 'Flapping',
    sentence: 'Its checks change between success and failure all the time.',
  },
  {
    fact: 'breaker_opened_at',
    word: 'Spared',
    sentence: 'Its checks fail: no metrics are collected, and in time it is checked less often.',
  },
] as const;

/** What keeps the health of a server from being firm, the most telling first. A paused one has no health. */
export const doubtsOf = (server: Facts): Doubt[] =>
  server.status !== 'active'
    ? []
    : kinds.flatMap(({ fact, word, sentence }) => {
        const since = server[fact];
        return since === null ? [] : [{ word, sentence, since }];
      });
