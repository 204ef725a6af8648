DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN
        CREATE ROLE app LOGIN PASSWORD 'secret';
    END IF;
END $$;
CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL);
GRANT SELECT, INSERT ON countries TO app;
