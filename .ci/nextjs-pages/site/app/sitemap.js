import { articles } from './articles.mjs';

export default () => ['/', ...articles.map(({ slug }) => `/articles/${slug}`)].map((path) => ({ url: `https://pages.example${path}` }));
