import * as React from 'react';

import { ChoiceField } from '../forms/field';
import { profileText } from '../format';
import { useHost } from '../host';
import type { Profile } from '../model';
import type { IJobForm } from './job_form';

/** What the run is given; nothing where there is no choice. */
export function ProfileField(props: {
  form: IJobForm;
  set: (part: Partial<IJobForm>) => void;
}): React.ReactElement | null {
  const { api } = useHost();
  const { form, set } = props;
  const [profiles, setProfiles] = React.useState<Profile[]>([]);
  React.useEffect(() => {
    api.profiles().then(setProfiles, () => setProfiles([]));
  }, [api]);
  if (profiles.length === 0 && form.profile === '') {
    return null;
  }
  const chosen = profiles.find(({ name }) => name === form.profile);
  return (
    <ChoiceField
      label="Profile"
      path="profile"
      value={form.profile}
      help={chosen?.description}
      choices={[
        ['', 'What the job asks for'] as const,
        ...profiles.map(one => [one.name, profileText(one)] as const),
        ...(form.profile && !chosen ? [[form.profile, form.profile] as const] : [])
      ]}
      // What was asked for belongs to the one before.
      onChange={profile => set({ profile, cpu: '', memory: '' })}
    />
  );
}
