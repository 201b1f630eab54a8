import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { launchBrowser, type Visit, type VisitOptions, visit } from './browser.ts';
import { type Fleet, seedFleet, startFleet } from './fleet.ts';

type Seeded = { fleet: Fleet; ids: Record<string, string> };
type Cookies = Awaited<ReturnType<BrowserContext['cookies']>>;

export type Dashboard = {
  /** The program and the seeded servers by name; there once the tests run. */
  dashboard(): Seeded;
  /** A browser that is not signed in, on the seeded fleet or on another one. */
  stranger(options?: VisitOptions & { url?: string }): Promise<Page>;
  /** A browser of an administrator on the page at `path`. */
  signedIn(path: string, options?: VisitOptions): Promise<Page>;
  /** The same, with a session of its own. */
  signedInByLink(path: string, options?: VisitOptions): Promise<Page>;
  row(page: Page, name: string): Locator;
  heading(page: Page, name: string): Locator;
};

/** A browser and a program with a seeded fleet, for all tests of a file. Registers the hooks that start and end them. */
export function startDashboard(): Dashboard {
  let browser: Browser;
  let seeded: Seeded;
  let session: Cookies;
  const visits: Visit[] = [];

  async function stranger({
    url = seeded.fleet.url,
    ...options
  }: VisitOptions & { url?: string } = {}): Promise<Page> {
    const opened = await visit(browser, url, options);
    visits.push(opened);
    return opened.page;
  }

  async function signedInByLink(path: string, options?: VisitOptions): Promise<Page> {
    const page = await stranger(options);
    await page.goto(`/sign-in?next=${encodeURIComponent(path)}#link=${await seeded.fleet.app.signInLink()}`);
    await page.waitForURL(url => url.pathname !== '/sign-in');
    return page;
  }

  beforeAll(async () => {
    const [launched, fleet] = await Promise.all([launchBrowser(), startFleet()]);
    browser = launched;
    seeded = { fleet, ids: await seedFleet(fleet) };
    await fleet.addMetrics(seeded.ids['api-1']!);
    await fleet.addChecks(seeded.ids['api-1']!, 4);
    // One session for all: signing in is limited to 30 a minute.
    session = await (await signedInByLink('/servers')).context().cookies();
  });

  afterEach(async () => {
    const complaints = visits.flatMap(each => each.complaints);
    await Promise.all(visits.splice(0).map(each => each.context.close()));
    // No test may break the content security policy, throw, or ask another host for anything.
    expect(complaints).toEqual([]);
  });

  afterAll(async () => {
    await browser?.close();
    await seeded?.fleet.app.close();
  });

  return {
    dashboard: () => seeded,
    stranger,
    signedInByLink,
    async signedIn(path, options) {
      const page = await stranger(options);
      await page.context().addCookies(session);
      await page.goto(path);
      return page;
    },
    row: (page, name) => page.getByRole('row').filter({ has: page.getByRole('link', { name, exact: true }) }),
    heading: (page, name) => page.getByRole('heading', { level: 1, name }),
  };
}
