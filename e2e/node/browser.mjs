// A browser of sorts, for pages of a login: cookies, redirects, and forms that are
// filled by the names of their fields.
const text = (s) => s.replaceAll('&quot;', '"').replaceAll('&#34;', '"').replaceAll('&#39;', "'").replaceAll('&#43;', '+').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
const attr = (tag, name) => { const m = new RegExp(`\\s${name}="([^"]*)"`).exec(tag); return m && text(m[1]); };

// Stuck is a page that leads no further: most often one that says no.
export class Stuck extends Error {
  constructor(url, status, page) {
    super(`${url.pathname}: ${status}`);
    Object.assign(this, { path: url.pathname, status, page, title: /<h1>([^<]*)/.exec(page)?.[1] ?? /reason:([a-z._]*)/.exec(page)?.[1] });
  }
}

export class Browser {
  #jar = new Map(); // host -> name -> {value, site}: paths and lifetimes do not matter here
  pages = []; // what was seen on the way, as METHOD path status

  constructor(fields = {}) { this.fields = fields; }

  cookie(url, name) { return this.#jar.get(new URL(url).hostname)?.get(name)?.value; }
  forget() { this.#jar.clear(); }
  // taken is a second browser with the same cookies: they were stolen.
  taken() { const other = new Browser(this.fields); for (const [host, all] of this.#jar) other.#jar.set(host, new Map(all)); return other; }

  async visit(url, { from = url.origin, ...init } = {}) {
    const site = from === url.origin ? 'same-origin' : 'cross-site';
    const cookies = this.#jar.get(url.hostname) ?? this.#jar.set(url.hostname, new Map()).get(url.hostname);
    const sent = [...cookies].filter(([, c]) => site === 'same-origin' || (init.method ?? 'GET') === 'GET' || c.site === 'none');
    const res = await fetch(url, { ...init, redirect: 'manual', headers: { accept: 'text/html', 'sec-fetch-site': site, ...init.headers,
      ...(init.method === 'POST' && { origin: from }), ...(sent.length && { cookie: sent.map(([k, c]) => `${k}=${c.value}`).join('; ') }) } });
    for (const line of res.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value === '' || /expires=thu, 01 jan 1970|max-age=0/i.test(line)) cookies.delete(name);
      else cookies.set(name, { value, site: /samesite=(\w+)/i.exec(line)?.[1].toLowerCase() });
    }
    this.pages.push(`${init.method ?? 'GET'} ${url.pathname.replace(/[\w-]{30,}/, '*')} ${res.status}`);
    return res;
  }

  // walk goes on until it is led to an address that begins with end, which is not
  // opened. press names the actions of forms to take where there are several.
  async walk(url, end, { press = [], fields = {} } = {}) {
    let from = 'null';
    let res = await this.visit(url, { from });
    for (let hops = 0; hops < 20; hops++) {
      const page = await res.text();
      const to = res.headers.get('location') ?? /url=(.*)/.exec(res.headers.get('refresh') ?? '')?.[1];
      if (to) {
        url = new URL(to, url);
        if (end && url.href.startsWith(end)) return url;
        res = await this.visit(url, { from });
        continue;
      }
      const forms = (/<main[\s\S]*<\/main>/.exec(page)?.[0] ?? page).match(/<form[\s\S]*?<\/form>/g) ?? [];
      const form = forms.find((f) => press.includes(attr(f, 'action'))) ?? forms[0];
      if (!form || res.status >= 400) throw new Stuck(url, res.status, page);
      const given = { ...this.fields, ...fields };
      const body = new URLSearchParams();
      for (const [tag] of form.matchAll(/<(?:input|button)[^>]*>/g)) {
        const name = attr(tag, 'name');
        if (!name || (/type="checkbox"| disabled/.test(tag) && !given[name]) || body.has(name)) continue;
        body.set(name, given[name] ?? attr(tag, 'value') ?? '');
      }
      from = url.origin;
      url = new URL(attr(form, 'action') ?? url.href, url);
      res = await this.visit(url, { method: 'POST', body, from });
    }
    throw new Error(`too many hops: ${this.pages.slice(-6)}`);
  }
}
