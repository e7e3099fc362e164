create table note (id int primary key, body text); insert into note values (1, 'The quick brown foxes');
