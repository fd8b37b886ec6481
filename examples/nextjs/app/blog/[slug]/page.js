import { notFound } from 'next/navigation';
import { posts } from '../../posts';

// Static as well: one page for each post. Other addresses are a 404, rendered on demand.
export function generateStaticParams() {
  return posts.map(({ slug }) => ({ slug }));
}

export default async function Post({ params }) {
  const { slug } = await params;
  const post = posts.find((candidate) => candidate.slug === slug);
  if (!post) notFound();
  return (
    <article>
      <h1>{post.title}</h1>
      <p>{post.text}</p>
    </article>
  );
}
