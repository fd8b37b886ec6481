// The whole "database" of this site.
export const posts = [
  { slug: 'hello', title: 'Hello', text: 'A page rendered when the site was built.' },
  { slug: 'second', title: 'Second post', text: 'Another one. Its neighbour is a click away.' },
];
