import { useState } from 'react';
import { readPreference, writePreference } from '../ui/preference.ts';

const themes = ['system', 'light', 'dark'] as const;
type Theme = (typeof themes)[number];

const storedTheme = (): Theme => themes.find(theme => theme === readPreference('theme')) ?? 'system';

/** The system's theme or one of one's own, remembered here. theme.js applies it before the first paint. */
export function ThemeToggle() {
  const [theme, setTheme] = useState(storedTheme);
  const choose = (chosen: Theme): void => {
    setTheme(chosen);
    writePreference('theme', chosen === 'system' ? null : chosen);
    const { dataset } = document.documentElement;
    if (chosen === 'system') delete dataset['theme'];
    else dataset['theme'] = chosen;
    document.dispatchEvent(new Event('themechange'));
  };
  return (
    <label className="flex min-h-8 items-center gap-2 px-2 text-muted">
      Theme
      <select
        className="input w-auto py-0.5"
        value={theme}
        onChange={event => choose(event.target.value as Theme)}
      >
        {themes.map(each => (
          <option key={each} value={each}>
            {each.charAt(0).toUpperCase() + each.slice(1)}
          </option>
        ))}
      </select>
    </label>
  );
}
