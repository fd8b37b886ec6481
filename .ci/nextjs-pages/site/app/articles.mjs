import changes from '../changes.json' with { type: 'json' };

const WORDS = 'ridge hut snow path water stove lamp wind stone bread rope map valley cloud night bell'.split(' ');
const word = (n) => WORDS[n % WORDS.length];

export const articles = Array.from({ length: 200 }, (_, n) => ({
  slug: `${word(n * 7)}-${n + 1}`,
  title: `The ${word(n * 7)} and the ${word(n * 3 + 5)}, ${n + 1}`,
  text: changes[n + 1] ?? `Of ${word(n)} & ${word(n + 4)}: "${word(n * 5 + 2)}", and how the ${word(n * 11 + 3)} came back.`,
  next: `${word(((n + 1) % 200) * 7)}-${((n + 1) % 200) + 1}`,
}));
