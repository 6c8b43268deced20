/**
 * Turns a path or URL into its route template, so that ids of people and things never leave the browser.
 *
 * The rules are those of the server (`signal_pipeline/events/routes.py`). A test compares the two on many ids, tokens and
 * disguises. The server also finds in a route what it finds in a description, such as an IBAN, and it decodes an escape
 * of HTML that lacks its semicolon; this module does neither.
 * No expression uses lookbehind, because a single one breaks the whole bundle in Safari before 16.4.
 */

const MAX_CHARACTERS = 256;
/**
 * The forms of an id, in this order: `@` or a hidden query, long hex (as at the end of a UUID), a long run, a ULID, a long
 * number, IPv4, IPv6 (whole or shortened), an escape of HTML or JSON, which can hide any of them.
 */
const ID = /[@?#]|[0-9a-f]{12}|[0-9a-z]{40}|\d[0-9a-z]{25}|\d{7}|\d(\.\d+){3}|:[0-9a-f]*:|&\w+;|\\u/i;
/**
 * What hides something: control and invisible characters, characters without a common meaning, fillers, and a parameter
 * of the path in any script.
 */
const HIDING = /[\p{C}\p{Zl}\p{Zp}\p{DI}\u2800]|(^|[;&/])[\p{L}\p{N}\p{Zs}\p{Pd}_.~]+=/u;

/**
 * Returns the route template of a path or absolute URL, without origin, query and fragment.
 *
 * It has `[id]` for each segment that is an id, holds `@` or an address, or looks like a token. Templates and ordinary
 * words stay. The result is undefined if the text is not a route, has more than 256 characters, or holds control or
 * invisible characters.
 */
export function routeTemplate(pathOrUrl: string): string | undefined {
  const path = pathOrUrl.replace(/^[\w+.-]+:\/\/[^/?#]*/, "").split(/[?#]|%(25)*(3f|23)/i)[0] || "/";
  const template = path.replace(/[^/]+/g, (segment) => (identifies(segment) ? "[id]" : segment));
  const tooLong = path.length > MAX_CHARACTERS || template.length > MAX_CHARACTERS;
  // Control characters, invisible characters, and characters without a common meaning.
  return path[0] !== "/" || tooLong || /[\p{C}\p{Zl}\p{Zp}]/u.test(path) ? undefined : template;
}

/** Returns whether a segment is an id, as it is written or after decoding. */
function identifies(segment: string): boolean {
  for (let round = 0; round < 5; round++) {
    if (HIDING.test(segment) || segment.split("/").some(readsAsId)) return true;
    segment = segment
      .normalize("NFKC")
      .replace(/(?!\d)\p{Nd}/gu, "0") // A digit of another script; which digit it is does not matter.
      .replace(/(%[0-9a-f]{2})+/gi, decoded);
  }
  return false;
}

function decoded(run: string): string {
  try {
    return decodeURIComponent(run);
  } catch {
    return "@"; // Not UTF-8. Nobody can tell what it hides, so it counts as an id.
  }
}

function readsAsId(part: string): boolean {
  return (/\d/.test(part) && !/\p{L}/u.test(part)) || ID.test(part) || (part.match(/[0-9a-z]{8,}/gi) ?? []).some(isToken) || isMixed(part.replace(/[-_.~=]/g, ""));
}

/** Returns whether a run of letters and digits looks random: its kinds of characters change too often for words. */
function isToken(run: string): boolean {
  const changes = kindChanges(run);
  if (!/\d/.test(run)) return run.length >= 20 && changes >= 0.4 * run.length;
  if (hasBothCases(run)) return changes >= 5;
  return (changes >= 4 && /(\d\D*){3}/.test(run)) || (run.length >= 20 && changes >= 2);
}

/** Returns the same for a whole segment without its separators, which base64url can have anywhere. */
const isMixed = (text: string): boolean =>
  text.length > 15 && /\d/.test(text) && hasBothCases(text) && kindChanges(text) >= 0.4 * text.length;

const hasBothCases = (text: string): boolean => /[a-z]/.test(text) && /[A-Z]/.test(text);

const kindChanges = (text: string): number => (text.match(/[a-z]+|[A-Z]+|\d+/g) ?? []).length - 1;
