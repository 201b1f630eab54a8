import type { Server } from '@opsfleet/sdk';
import { useNavigate } from '@tanstack/react-router';
import { type RefObject, useEffect, useEffectEvent, useId, useMemo, useRef, useState } from 'react';
import {
  activeFilters,
  filterLabels,
  healthNames,
  type ServerSearch,
  statusNames,
} from '../pages/server-search.ts';
import { Button } from '../ui/Button.tsx';
import { useMediaQuery } from '../ui/useMediaQuery.ts';
import { stateWord } from './HealthGlyph.tsx';
import { useShortcuts } from './Keys.tsx';

/** Typing is over when it has paused this long. */
const debounceMs = 200;

type Props = {
  search: ServerSearch;
  /** Where the known regions, environments and tags are taken from. */
  servers: readonly Server[];
};

/** Search and filters of the server list. The address is their only state. */
export function FilterBar({ search, servers }: Props) {
  const navigate = useNavigate();
  const change = (
    changes: { [Name in keyof ServerSearch]?: ServerSearch[Name] | undefined },
    replace = false,
  ): void => {
    const next = Object.fromEntries(
      Object.entries({ ...search, ...changes }).filter(([, value]) => value !== undefined),
    );
    void navigate({ to: '/servers', search: next, replace, resetScroll: true });
  };
  const input = useRef<HTMLInputElement>(null);
  const shortcuts = useMemo(
    () => [{ keys: '/', does: 'Search the servers', run: () => input.current?.focus() }],
    [],
  );
  useShortcuts(shortcuts);
  const count = activeFilters(search).length;
  const isNarrow = useMediaQuery('(width < 40rem)');

  const filters = (
    <>
      <Choice
        label="Health"
        value={search.health}
        options={healthNames.map(name => [name, stateWord(name)])}
        onChange={health => change({ health: healthNames.find(name => name === health) })}
      />
      <Choice
        label="Status"
        value={search.status}
        options={statusNames.map(name => [name, name === 'active' ? 'Active' : stateWord(name)])}
        onChange={status => change({ status: statusNames.find(name => name === status) })}
      />
      {exactNames.map(name => (
        <Exact
          key={name}
          label={filterLabels[name]}
          value={search[name]}
          known={knownValues(servers, name)}
          onChange={value => change({ [name]: value })}
        />
      ))}
      <Choice
        label="Order"
        value={search.sort}
        any="By name"
        options={[['newest', 'Newest first']]}
        onChange={sort => change({ sort: sort === 'newest' ? 'newest' : undefined })}
      />
    </>
  );
  return (
    <search className="grid gap-2">
      <div className="flex flex-wrap items-end gap-2">
        <SearchField
          input={input}
          query={search.q ?? ''}
          onChange={q => change({ q: q === '' ? undefined : q }, true)}
        />
        {count === 0 ? null : (
          <Button onClick={() => void navigate({ to: '/servers', search: {} })}>
            Clear {count === 1 ? 'the filter' : `${count} filters`}
          </Button>
        )}
      </div>
      {isNarrow ? (
        <details open={count > 0}>
          <summary className="min-h-8 py-1.5 font-medium">Filters and order</summary>
          <div className="grid grid-cols-2 gap-2">{filters}</div>
        </details>
      ) : (
        <div className="grid grid-cols-3 gap-2 lg:grid-cols-6">{filters}</div>
      )}
    </search>
  );
}

/** Filters that name a whole value of a server. */
const exactNames = ['region', 'environment', 'tag'] as const;

function knownValues(servers: readonly Server[], name: (typeof exactNames)[number]): string[] {
  const values = servers.flatMap(server => (name === 'tag' ? server.tags : (server[name] ?? [])));
  return [...new Set(values)].toSorted();
}

type SearchFieldProps = {
  input: RefObject<HTMLInputElement | null>;
  query: string;
  onChange(query: string): void;
};

function SearchField({ input, query, onChange }: SearchFieldProps) {
  const [text, setText] = useState(query);
  // The address changes by typing here, or by a link or the back button; only those replace what is typed.
  const [seen, setSeen] = useState({ query, sent: query });
  if (query !== seen.query) {
    setSeen({ query, sent: query });
    if (query !== seen.sent) setText(query);
  }
  const send = useEffectEvent((typed: string) => {
    setSeen({ ...seen, sent: typed });
    onChange(typed);
  });
  useEffect(() => {
    if (text.trim() === query) return;
    const timer = setTimeout(() => send(text.trim()), debounceMs);
    return () => clearTimeout(timer);
  }, [text, query]);
  return (
    <label className="eyebrow grid min-w-0 flex-1 gap-1">
      <span>
        Search <kbd className="kbd max-lg:hidden">/</kbd>
      </span>
      <input
        ref={input}
        type="search"
        className="input text-base"
        placeholder="Name, host, region or environment"
        maxLength={200}
        value={text}
        onChange={event => setText(event.target.value)}
      />
    </label>
  );
}

type ChoiceProps = {
  label: string;
  value: string | undefined;
  any?: string;
  options: readonly (readonly [value: string, label: string])[];
  onChange(value: string): void;
};

const Choice = ({ label, value, any = 'Any', options, onChange }: ChoiceProps) => (
  <label className="eyebrow grid min-w-0 gap-1">
    {label}
    <select className="input text-base" value={value ?? ''} onChange={event => onChange(event.target.value)}>
      <option value="">{any}</option>
      {options.map(([name, text]) => (
        <option key={name} value={name}>
          {text}
        </option>
      ))}
    </select>
  </label>
);

type ExactProps = {
  label: string;
  value: string | undefined;
  known: readonly string[];
  onChange(value: string | undefined): void;
};

/** A field for a whole value, helped by those that are known; it holds when the field is left or Enter pressed. */
function Exact({ label, value, known, onChange }: ExactProps) {
  const listId = useId();
  const [text, setText] = useState(value ?? '');
  const [seen, setSeen] = useState(value);
  if (value !== seen) {
    setSeen(value);
    setText(value ?? '');
  }
  const settle = (): void => {
    const chosen = text.trim() === '' ? undefined : text.trim();
    if (chosen !== value) onChange(chosen);
  };
  return (
    <div className="min-w-0">
      <label className="eyebrow grid gap-1">
        {label}
        <input
          className="input text-base"
          list={listId}
          placeholder="Any"
          maxLength={100}
          value={text}
          onChange={event => setText(event.target.value)}
          onBlur={settle}
          onKeyDown={event => {
            if (event.key === 'Enter') settle();
          }}
        />
      </label>
      {/* Inside the label it would be part of the name. */}
      <datalist id={listId}>
        {known.map(each => (
          <option key={each} value={each}>
            {each}
          </option>
        ))}
      </datalist>
    </div>
  );
}
